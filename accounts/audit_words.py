"""The audit trail in words: actions, groups of them, and what changed."""

from collections.abc import Mapping
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

Text = str | Promise
ACTIONS: dict[str, Text] = {
    "register": _("Registered"),
    "sign_in": _("Signed in"),
    "sign_in_failed": _("Refused sign-in"),
    "sign_out": _("Signed out"),
    "profile_changed": _("Changed profile"),
    "password_changed": _("Changed password"),
    "password_reset": _("Reset password by mail"),
    "password_reset_by_admin": _("Reset password"),
    "email_verified": _("Verified email"),
    "session_ended": _("Ended session"),
    "sessions_ended": _("Ended all other sessions"),
    "api_key_created": _("Created key"),
    "api_key_revoked": _("Revoked key"),
    "invite_created": _("Created invite link"),
    "invite_revoked": _("Revoked invite link"),
    "role_changed": _("Changed role"),
    "status_changed": _("Changed state"),
    "permissions_changed": _("Changed features"),
    "models_changed": _("Changed allowed models"),
    "user_deleted": _("Deleted account"),
    "user_declined": _("Declined account"),
    "user_displaced": _("Displaced unproven account"),
    "provider_linked": _("Linked sign-in"),
    "provider_unlinked": _("Unlinked sign-in"),
    "factor_added": _("Added second factor"),
    "factor_removed": _("Removed second factor"),
    "secrets_rotated": _("Rotated secrets"),
    "quota_set": _("Changed quota"),
    "quota_deleted": _("Removed quota"),
    "price_set": _("Set price"),
    "price_withdrawn": _("Withdrew price"),
    "settings_changed": _("Changed settings"),
    "model_changed": _("Changed model"),
    "model_imported": _("Imported model"),
    "model_deleted": _("Removed model"),
    "model_loaded": _("Loaded model"),
    "model_unloaded": _("Unloaded model"),
    "backend_installed": _("Installed backend"),
    "backend_deleted": _("Removed backend"),
    "traces_cleared": _("Cleared traces"),
}
GROUPS: tuple[tuple[str, Text, tuple[str, ...]], ...] = (
    (
        "sign-in",
        _("Sign-in"),
        (
            *("register", "sign_in", "sign_in_failed", "sign_out", "session_ended"),
            *("sessions_ended", "password_changed", "password_reset", "email_verified"),
            *("provider_linked", "provider_unlinked", "factor_added", "factor_removed"),
        ),
    ),
    (
        "users",
        _("Users"),
        (
            *("role_changed", "status_changed", "permissions_changed", "models_changed"),
            *("user_deleted", "user_declined", "user_displaced", "password_reset_by_admin"),
            *("profile_changed", "invite_created", "invite_revoked", "quota_set", "quota_deleted"),
        ),
    ),
    ("keys", _("Keys"), ("api_key_created", "api_key_revoked", "secrets_rotated")),
    (
        "models",
        _("Models"),
        (
            *("model_changed", "model_imported", "model_deleted", "model_loaded"),
            *("model_unloaded", "backend_installed", "backend_deleted"),
        ),
    ),
    (
        "settings",
        _("Settings"),
        ("settings_changed", "price_set", "price_withdrawn", "traces_cleared"),
    ),
)
_MAX_CHARS = 300
_BRIEF_CHARS = 80


def action(name: str) -> str:
    """An action in words; one that is not known here by its own name."""
    return str(ACTIONS.get(name) or name.replace("_", " ").capitalize())


def group_actions(key: str) -> tuple[str, ...]:
    """The actions of a group; none for an unknown key."""
    return next((names for each, _label, names in GROUPS if each == key), ())


def brief(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    """One line: `role: user to admin`. The whole stands in the details."""
    before, after = before or {}, after or {}
    parts = []
    for name in [*after, *(key for key in before if key not in after)]:
        old, new = before.get(name), after.get(name)
        if isinstance(old, dict | list) or isinstance(new, dict | list):
            parts.append(name)
        elif name in before and name in after:
            given = {"name": name, "old": _plain(old), "new": _plain(new)}
            if old != new:
                parts.append(_now("%(name)s: %(old)s to %(new)s") % given)
        elif (value := new if name in after else old) is not None:
            parts.append(f"{name}: {_plain(value)}")
    line = ", ".join(parts)
    return line if len(line) <= _BRIEF_CHARS else line[:_BRIEF_CHARS] + "…"


def lines(values: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Name and value, for the details."""
    return [(name, _plain(value)) for name, value in (values or {}).items()]


def _plain(value: Any) -> str:
    if value is None:
        return _now("none")
    if isinstance(value, bool):
        return _now("yes") if value else _now("no")
    if isinstance(value, list):
        text = ", ".join(str(each) for each in value) or _now("none")
    elif isinstance(value, dict):
        text = ", ".join(f"{name} {_plain(each)}" for name, each in value.items()) or _now("none")
    else:
        text = str(value) or _now("none")
    return text if len(text) <= _MAX_CHARS else text[:_MAX_CHARS] + "…"
