"""The value of a setting that counts now: the environment's, else the stored one, else the default."""

from typing import Any

from accounts.runtime import stored_settings
from accounts.runtime_settings.registry import SettingKey, registered
from core.response_headers import OriginRules


def kept(key: SettingKey) -> Any:
    """What counts, in the form the table has it."""
    if key.fixed_by:
        return key.without_row
    return stored_settings().known().values.get(key.name, key.without_row)


def value(name: str) -> Any:
    """What counts of the setting `name`, as this process knows it: no query."""
    return kept(registered()[name])


def origin_rules() -> OriginRules:
    """Which browsers' origins may read answers (S-23)."""
    listed = frozenset(filter(None, str(value("cors_allow_origins")).split(",")))
    return OriginRules(bool(value("cors")), listed - {"*"})


def registration_mode() -> str:
    """`open`, `approval` or `invite` (R-09)."""
    return str(value("registration_mode"))


def checks_origin() -> bool:
    """Whether requests that another site made a browser send are refused (S-11)."""
    return not value("csrf")
