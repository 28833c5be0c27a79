"""Making and revoking API keys (contract 2.5)."""

import secrets
from datetime import datetime
from uuid import UUID

from django.db import transaction

from accounts.audit import Actor, Subject, record
from accounts.changes import change_of_rights, credentials_added
from accounts.credentials import KEY_PREFIX
from accounts.models import ApiKey, User
from accounts.runtime import keyring

PREFIX_CHARS = 12


@transaction.atomic
def create(user: User, *, name: str, expires_at: datetime | None, by: Actor) -> tuple[ApiKey, str]:
    """A new key and its secret, which is seen only this once."""
    secret = KEY_PREFIX + secrets.token_hex(32)
    digest = keyring("api-key").digest(secret)
    credentials_added()
    key = ApiKey.objects.create(
        user=user,
        name=name,
        prefix=secret[:PREFIX_CHARS],
        digest=digest.hex,
        digest_key_id=digest.key_id,
        role=user.role,
        expires_at=expires_at,
    )
    record("api_key_created", by, Subject(key.pk, name), after={"prefix": key.prefix})
    return key, secret


def find(secret: str, *, now: datetime) -> ApiKey | None:
    """The usable key of an active account that `secret` is, for E-04."""
    if not secret.startswith(KEY_PREFIX) or not secret.isascii() or len(secret) > 512:
        return None
    digests = [digest.hex for digest in keyring("api-key").digests(secret)]
    key = ApiKey.objects.select_related("user").filter(digest__in=digests).first()
    return key if key is not None and key.is_usable(now) and key.user.is_active else None


def revoke(key_id: UUID, *, owner_id: UUID | str, by: Actor) -> bool:
    """End a key of `owner_id`; False where there is none. Refused from the next request on."""
    with change_of_rights(owner_id):
        key = ApiKey.objects.filter(pk=key_id, user_id=owner_id).first()
        if key is None:
            return False
        key.delete()
        record("api_key_revoked", by, Subject(key_id, key.name), before={"prefix": key.prefix})
    return True


def revoke_all(user: User, *, by: Actor) -> None:
    """End every key of `user` (S-06)."""
    for key_id in list(user.api_keys.values_list("pk", flat=True)):
        revoke(key_id, owner_id=user.pk, by=by)
