"""Invite links: made once, shown once, used once (contract 3.4)."""

import secrets
from datetime import datetime, timedelta

from accounts.models import Invite, User
from accounts.runtime import keyring
from core.errors import InvalidRequestError

DEFAULT_HOURS, MAX_HOURS = 168, 8760
PREFIX_CHARS = 8


class InviteError(InvalidRequestError):
    message = "invalid or expired invite code"


def create(*, created_by: User | None, hours: int, now: datetime) -> tuple[Invite, str]:
    """A new invite and its code, which is seen only this once."""
    code = secrets.token_hex(32)
    digest = keyring("invite").digest(code)
    invite = Invite.objects.create(
        prefix=code[:PREFIX_CHARS],
        digest=digest.hex,
        digest_key_id=digest.key_id,
        created_by=created_by,
        created_at=now,
        expires_at=now + timedelta(hours=hours),
    )
    return invite, code


def find_usable(code: str, *, now: datetime) -> Invite | None:
    """The invite that `code` opens, where it is neither used nor expired."""
    if not code or len(code) > 128 or not code.isascii():
        return None
    digests = [digest.hex for digest in keyring("invite").digests(code)]
    return Invite.objects.filter(
        digest__in=digests, used_at__isnull=True, expires_at__gt=now
    ).first()


def consume(invite: Invite, *, user: User, now: datetime) -> None:
    """Use it up for `user`; InviteError where somebody else did in the same moment (W-03)."""
    changed = Invite.objects.filter(pk=invite.pk, used_at__isnull=True, expires_at__gt=now).update(
        used_at=now, used_by=user
    )
    if changed != 1:
        raise InviteError
