"""What the account endpoints answer with: explicit fields, never a digest or a hash."""

from datetime import datetime
from typing import Any

from accounts.features import effective_permissions
from accounts.models import ApiKey, Invite, User
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


def listed_user(user: User) -> dict[str, Any]:
    """An item of E-17."""
    return {
        **brief_user(user),
        "avatarUrl": user.avatar_url,
        "status": user.status,
        "provider": user.provider,
        "createdAt": timestamp(user.created_at),
        "permissions": effective_permissions(user.role),
        "allowed_models": {"enabled": False},
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
