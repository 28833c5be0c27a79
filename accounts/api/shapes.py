"""What the account endpoints answer with: explicit fields, never a digest or a hash."""

from datetime import datetime
from typing import Any

from accounts.devices import device_of
from accounts.features import effective_permissions
from accounts.models import ApiKey, AuditRecord, Invite, Session, User
from core.principal import Principal


def timestamp(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC (G-04)."""
    return moment.isoformat().replace("+00:00", "Z") if moment else None


def brief_user(user: User) -> dict[str, Any]:
    return {"id": str(user.pk), "email": user.email, "name": user.name, "role": user.role}


def caller(principal: Principal, user: User | None) -> dict[str, Any]:
    """The caller of E-01 and E-06; the legacy key and the open server have no account."""
    return {
        "id": principal.user_id,
        "email": principal.email,
        "name": principal.name,
        "avatarUrl": user.avatar_url if user else "",
        "role": principal.role,
        "provider": user.provider if user else "",
    }


def listed_user(user: User, last_seen: datetime | None = None) -> dict[str, Any]:
    """An item of E-17, with when they were here last (R-29)."""
    return {
        **brief_user(user),
        "avatarUrl": user.avatar_url,
        "status": user.status,
        "provider": user.provider,
        "createdAt": timestamp(user.created_at),
        "lastSeen": timestamp(last_seen),
        "permissions": effective_permissions(user.role, user.permissions),
        "allowed_models": allowed_models(user),
    }


def allowed_models(user: User) -> dict[str, Any]:
    """The allow-list as E-17 and E-24 show it: `models` only where there are any."""
    found: dict[str, Any] = {"enabled": user.models_restricted}
    if user.allowed_models:
        found["models"] = user.allowed_models
    return found


def listed_session(session: Session, *, current: str | None) -> dict[str, Any]:
    """An item of `GET /api/auth/sessions` (S-25); never the session key."""
    return {
        "id": str(session.public_id),
        "createdAt": timestamp(session.created_at),
        "lastUsed": timestamp(session.last_used_at),
        "expiresAt": timestamp(session.expire_date),
        "address": session.address,
        "device": device_of(session.user_agent),
        "current": session.session_key == current,
    }


def listed_key(key: ApiKey) -> dict[str, Any]:
    """An item of E-12."""
    item = {
        "id": str(key.pk),
        "name": key.name,
        "keyPrefix": key.prefix,
        "role": key.role,
        "createdAt": timestamp(key.created_at),
        "lastUsed": timestamp(key.last_used_at),
    }
    if key.expires_at is not None:
        item["expiresAt"] = timestamp(key.expires_at)
    return item


def listed_invite(invite: Invite) -> dict[str, Any]:
    """An item of E-31."""
    return {
        "id": str(invite.pk),
        "codePrefix": invite.prefix,
        "expiresAt": timestamp(invite.expires_at),
        "createdAt": timestamp(invite.created_at),
        "usedAt": timestamp(invite.used_at),
        "createdBy": _person(invite.created_by) or {"id": "", "name": ""},
        "usedBy": _person(invite.used_by),
    }


def _person(user: User | None) -> dict[str, str] | None:
    return {"id": str(user.pk), "name": user.display_name} if user else None


def listed_audit(row: AuditRecord) -> dict[str, Any]:
    """An item of `GET /api/auth/admin/audit`."""
    return {
        "id": row.pk,
        "at": timestamp(row.at),
        "action": row.action,
        "actor": {"id": row.actor_id, "name": row.actor_name},
        "source": row.source,
        "address": row.address,
        "subject": {"id": row.subject_id, "name": row.subject_name},
        "before": row.before,
        "after": row.after,
    }
