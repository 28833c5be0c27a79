"""Rotating the secrets that credentials are digested with (S-46, W-24)."""

import secrets
from pathlib import Path

from django.db import DatabaseError
from django.utils import timezone

from accounts.audit import CLI, Subject, record
from accounts.models import ApiKey, Invite, SecretVersion, ServerSetting, Session
from accounts.runtime import env, keyring, secrets_path
from core.errors import InvalidRequestError
from core.files import keep_secrets, secrets_from_file
from core.keyring import Keyring
from core.starting import Unreadable


def check_secrets() -> str | None:
    """One line where none of our secrets is one this database knows, or Unreadable; else None, and ours
    are known. Writes only where one is new: a worker that comes back waits for no lock.

    That is how a replica shows that was started without the others' secret.
    """
    ours = keyring("session").key_ids
    try:
        known = set(SecretVersion.objects.values_list("key_id", flat=True))
        if known and not known & set(ours):
            return (
                "the secrets here are not those that this database's keys and sessions were made "
                "with; copy secrets/hmac of the data path, or set LOCALAI_AUTH_HMAC_SECRET as there"
            )
        if new := [SecretVersion(key_id=key_id) for key_id in ours if key_id not in known]:
            SecretVersion.objects.bulk_create(new, ignore_conflicts=True)
    except DatabaseError as exc:
        return Unreadable.because_of(exc)
    return None


def add() -> str:
    """Put a new secret first; the id of it. Raises InvalidRequestError where they are in a setting."""
    path = _own_file()
    made = secrets.token_hex(32)
    keep_secrets(path, [made, *secrets_from_file(path)])
    (key_id,) = Keyring([made], "session").key_ids
    SecretVersion.objects.get_or_create(key_id=key_id)
    record("secrets_rotated", CLI, Subject(key_id, "added"))
    return key_id


def depending_on(key_id: str) -> dict[str, int]:
    """What would die with a secret: keys and unused invites made with it; sessions cannot be told."""
    run_time = [
        each["key_id"]
        for kept in ServerSetting.objects.filter(key="api_keys").values_list("value", flat=True)
        for each in kept or []
    ]
    unused = Invite.objects.filter(used_at=None, expires_at__gt=timezone.now())
    return {
        "API keys": ApiKey.objects.filter(digest_key_id=key_id).count(),
        "run-time keys": run_time.count(key_id),
        "unused invites": unused.filter(digest_key_id=key_id).count(),
        "sessions, at most": Session.objects.filter(expire_date__gt=timezone.now()).count(),
    }


def retire(key_id: str) -> None:
    """Forget a secret that does not sign any more. Raises InvalidRequestError for any other."""
    path = _own_file()
    kept = secrets_from_file(path)
    ids = Keyring(kept, "session").key_ids
    if key_id not in ids:
        raise InvalidRequestError(f"there is no secret {key_id}; there are {', '.join(ids)}")
    if ids.index(key_id) == 0:
        raise InvalidRequestError("this secret signs; add another first")
    keep_secrets(path, [secret for secret, each in zip(kept, ids, strict=True) if each != key_id])
    SecretVersion.objects.filter(key_id=key_id).delete()
    record("secrets_rotated", CLI, Subject(key_id, "retired"))


def _own_file() -> Path:
    if env().auth_hmac_secret:
        raise InvalidRequestError("the secrets are in LOCALAI_AUTH_HMAC_SECRET; change them there")
    return secrets_path(env().data_path)
