"""The table of settings and the one way in: checked as a whole, written as a whole, recorded (R-21)."""

import logging
from collections.abc import Mapping
from functools import cache
from typing import Any

from django.db import connection, transaction

from accounts.audit import Actor, Subject, record
from accounts.changes import credentials_added, rights_changed, settings_changed
from accounts.credentials import DigestedKeys
from accounts.models import ServerSetting
from accounts.runtime import env, keyring, stored_settings
from accounts.runtime_settings.held import Stored
from accounts.runtime_settings.in_force import kept
from accounts.runtime_settings.registry import SettingKey, consequences, registered
from accounts.runtime_settings.secret_keys import PURPOSE
from core.errors import InvalidRequestError
from core.principal import LEGACY

log = logging.getLogger("gatehouse.settings")
API_KEYS, ENVIRONMENT = "api_keys", "environment"
MAX_SHOWN = 64


def load() -> Stored:
    """What is stored and understood; nothing where LOCALAI_DISABLE_RUNTIME_SETTINGS is on."""
    values: dict[str, Any] = {}
    if not env().disable_runtime_settings:
        for name, value in ServerSetting.objects.values_list("key", "value"):
            key = registered().get(name)
            if key is not None and key.is_kept_form(value):
                values[name] = value
            else:
                _say_left_out(name)
    digests = tuple(each["digest"] for each in values.get(API_KEYS, []))
    return Stored(values, DigestedKeys(keyring(PURPOSE), digests) if digests else None)


@cache
def _say_left_out(name: str) -> None:
    """Once for each: the table is read again and again."""
    log.warning("the stored setting %s is not one of this version's: left out", name)


def shown() -> dict[str, Any]:
    """Every setting as admins see it, and which ones the environment fixes (R-08)."""
    stored_settings().fresh()
    keys = registered()
    found = {name: key.show(kept(key)) for name, key in sorted(keys.items())}
    fixed = {name: key.fixed_by for name, key in sorted(keys.items()) if key.fixed_by}
    return {**found, ENVIRONMENT: fixed}


def change(given: Mapping[str, Any], *, by: Actor) -> None:
    """Set what `given` names; null leaves a setting as it is, as does what is not named.

    Raises InvalidRequestError, naming the key; then nothing was changed. What `shown` gave may come
    back whole.
    """
    wanted = {name: value for name, value in given.items() if value is not None}
    wanted.pop(ENVIRONMENT, None)
    checked = {name: _key(name).check(value) for name, value in wanted.items()}
    with transaction.atomic():
        _one_at_a_time()
        stored_settings().refresh()
        changes = _changes(checked)
        if not changes:
            return
        settings_changed()  # first: whoever asks again because of the next two finds this moved
        if API_KEYS in changes:
            credentials_added()
            rights_changed(LEGACY.user_id)
        _write(changes, by)
    stored_settings().fresh()


def _key(name: str) -> SettingKey:
    key = registered().get(name)
    if key is None:
        raise InvalidRequestError(f"Unknown setting: {name[:MAX_SHOWN]}", param=name[:MAX_SHOWN])
    return key


def _one_at_a_time() -> None:
    """Two changes at once: the second sees what the first did. SQLite's transactions do so anyway."""
    if connection.vendor == "postgresql":
        table = connection.ops.quote_name(ServerSetting._meta.db_table)  # noqa: SLF001  # Django's API
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '10s'")  # then the database is busy: 503
            cursor.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")


def _changes(checked: dict[str, Any]) -> dict[str, Any]:
    """What differs from what counts, in the table's form, with what follows from it."""
    keys = registered()
    before = {name: kept(key) for name, key in keys.items()}
    changes = _differing(checked, before)
    values = before | changes
    return changes | _differing(consequences(checked, before, values), values)


def _differing(checked: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in checked.items():
        key = registered()[name]
        new = key.keep(value, before[name])
        if new == before[name]:
            continue
        if key.read_only:
            raise InvalidRequestError(f"{name} is read-only here", param=name)
        if key.fixed_by:
            raise InvalidRequestError(
                f"{name} is set by {key.fixed_by} in the environment; change it there", param=name
            )
        found[name] = new
    return found


def _write(changes: dict[str, Any], by: Actor) -> None:
    """The rows and one record of the trail, which has masks where there are secrets."""
    keys = registered()
    before = {name: keys[name].show(kept(keys[name])) for name in changes}
    after = {name: keys[name].show(new) for name, new in changes.items()}
    for name, new in changes.items():
        ServerSetting.objects.update_or_create(key=name, defaults={"value": new})
    record("settings_changed", by, Subject("", "settings"), before=before, after=after)
