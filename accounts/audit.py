"""The audit trail's one way in: every sign-in, every refusal of one, every change of rights (W-18).

A change and its record are one transaction. Nothing secret is ever passed in here.
"""

from dataclasses import dataclass
from typing import Any, Literal, cast

from django.http import HttpRequest

from accounts.limits import address_of
from accounts.models import AuditRecord
from core.http import GatedRequest

Action = Literal[
    "register",
    "sign_in",
    "sign_in_failed",
    "sign_out",
    "profile_changed",
    "password_changed",
    "password_reset",
    "password_reset_by_admin",
    "email_verified",
    "session_ended",
    "sessions_ended",
    "api_key_created",
    "api_key_revoked",
    "invite_created",
    "invite_revoked",
    "role_changed",
    "status_changed",
    "permissions_changed",
    "models_changed",
    "user_deleted",
    "user_declined",
    "user_displaced",
    "provider_linked",
    "provider_unlinked",
    "factor_added",
    "factor_removed",
    "secrets_rotated",
    "quota_set",
    "quota_deleted",
    "price_set",
    "price_withdrawn",
    "settings_changed",
    "model_changed",
    "model_imported",
    "model_deleted",
    "model_loaded",
    "model_unloaded",
    "backend_installed",
    "backend_deleted",
    "traces_cleared",
]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something. `source` is the principal's, `anonymous`, or `cli` for `manage.py`."""

    id: str
    name: str
    source: str
    address: str


CLI = Actor("", "manage.py", "cli", "")


@dataclass(frozen=True, slots=True)
class Subject:
    """What it is done to: an account, a key, an invite, a session."""

    id: object
    name: str


def actor_of(request: HttpRequest) -> Actor:
    """The caller of a request, signed in or not."""
    principal = cast("GatedRequest", request).principal
    address = address_of(request)
    if principal is None:
        return Actor("", "", "anonymous", address)
    return Actor(principal.user_id, principal.email or principal.name, principal.source, address)


def record(
    action: Action,
    by: Actor,
    about: Subject,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Add one line to the trail, in the transaction that is running."""
    AuditRecord.objects.create(
        action=action,
        actor_id=by.id[:36],
        actor_name=by.name[:254],
        source=by.source,
        address=by.address[:64],
        subject_id=str(about.id)[:36],
        subject_name=about.name[:254],
        before=before,
        after=after,
    )
