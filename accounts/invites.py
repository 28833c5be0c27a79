"""Invite links: made once, shown once, used once (contract 3.4)."""

import secrets
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from accounts.audit import Actor, Subject, record
from accounts.models import Invite, User
from accounts.runtime import keyring
from core.errors import InvalidRequestError, NotFoundError

DEFAULT_HOURS, MAX_HOURS = 168, 8760
PREFIX_CHARS = 8


class InviteError(InvalidRequestError):
    message = "invalid or expired invite code"


@transaction.atomic
def create(*, created_by: User | None, hours: int, now: datetime, by: Actor) -> tuple[Invite, str]:
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
    record("invite_created", by, Subject(invite.pk, invite.prefix), after={"hours": hours})
    return invite, code


@transaction.atomic
def revoke(invite_id: UUID, *, by: Actor) -> None:
    """Take an unused invite back. Raises InvalidRequestError for a used one, NotFoundError."""
    invite = Invite.objects.filter(pk=invite_id).first()
    if invite is None:
        raise NotFoundError("invite not found")
    deleted, _ = Invite.objects.filter(pk=invite_id, used_at__isnull=True).delete()
    if not deleted:
        raise InvalidRequestError("cannot revoke a used invite")
    record("invite_revoked", by, Subject(invite_id, invite.prefix))


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
