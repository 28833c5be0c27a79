"""What the form of a person holds: carried by it, compared before it saves, told where it moved."""

from typing import Any
from uuid import UUID

from django.core import signing
from django.http import QueryDict
from django.utils.translation import gettext as _

from accounts.feature_words import in_order, label
from accounts.features import features_of
from accounts.models import User
from usage.people import quota_form
from usage.people.quota_words import allowance

# `person`, `role`, `features`, `restricted`, `models`, `quotas` (by id, as `quota_form` holds them).
Held = dict[str, Any]
SALT = "usage.people.held"
MAX_NAMED = 20


def of(user: User, quotas: quota_form.Quotas) -> Held:
    """What there is of `user`, as JSON has it."""
    return {
        "person": str(user.pk),
        "role": str(user.role),
        "features": sorted(features_of("user", user.permissions)),
        "restricted": user.models_restricted,
        "models": sorted(set(user.allowed_models)),
        "quotas": quotas,
    }


def stamp(held: Held) -> str:
    """For the hidden field: signed, so that what comes back has this shape."""
    return signing.dumps(held, salt=SALT, compress=True)


def shown(stamp: str, user_id: UUID) -> Held | None:
    """What the form showed; None where it does not say, or speaks of somebody else."""
    try:
        held: Held = signing.loads(stamp, salt=SALT)
    except signing.BadSignature:
        return None
    return held if held["person"] == str(user_id) else None


def kept(before: Held, now: Held, post: Any) -> QueryDict:
    """The form to show again: what is there now, and over it what was changed in `post`."""
    given = QueryDict(mutable=True)
    role = post.get("role", before["role"])
    given["role"] = now["role"] if role == before["role"] else role
    is_restricted = "restricted" in post
    if now["restricted"] if is_restricted == before["restricted"] else is_restricted:
        given["restricted"] = "on"
    for field, name in (("feature", "features"), ("model", "models")):
        typed, was, here = set(post.getlist(field)), set(before[name]), set(now[name])
        changed = typed ^ was
        given.setlist(field, sorted((here - changed) | (typed & changed)))
    given.update(quota_form.kept(before["quotas"], now["quotas"], post))
    return given


def news(before: Held, now: Held) -> list[tuple[str, list[str]]]:
    """What somebody else changed, as (what, how it is now)."""
    found: list[tuple[str, list[str]]] = []
    if now["role"] != before["role"]:
        role = _("Administrator") if now["role"] == "admin" else _("User")
        found.append((_("Role"), [role]))
    on, off = _differing(before["features"], now["features"])
    found.append((_("Features switched on"), [str(label(name)) for name in in_order(on)]))
    found.append((_("Features switched off"), [str(label(name)) for name in in_order(off)]))
    if now["restricted"] != before["restricted"]:
        state = _("On") if now["restricted"] else _("Off")
        found.append((_("Restrict to specific models"), [state]))
    added, removed = _differing(before["models"], now["models"])
    found += [(_("Models added"), sorted(added)), (_("Models removed"), sorted(removed))]
    was, here = before["quotas"], now["quotas"]
    moved = [pk for pk in here if pk in was and here[pk] != was[pk]]
    for what, quotas, pks in (
        (_("Quotas added"), here, [pk for pk in here if pk not in was]),
        (_("Quotas changed"), here, moved),
        (_("Quotas removed"), was, [pk for pk in was if pk not in here]),
    ):
        found.append((what, [allowance(quota_form.named(quotas[pk])) for pk in pks]))
    return [(what, _some(names)) for what, names in found if names]


def _differing(before: list[str], now: list[str]) -> tuple[set[str], set[str]]:
    """(what came, what went)."""
    return set(now) - set(before), set(before) - set(now)


def _some(names: list[str]) -> list[str]:
    return names if len(names) <= MAX_NAMED else [*names[:MAX_NAMED], "…"]
