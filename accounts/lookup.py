"""The one place that asks the database who a credential belongs to."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.core.exceptions import ValidationError
from django.db import OperationalError
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from accounts import presence
from accounts.credentials import Kind, is_legacy_key
from accounts.factors import authenticators
from accounts.features import features_of
from accounts.models import ApiKey, Session, Status, User
from accounts.runtime import auth_mode, keyring, stored_settings
from accounts.social.bearer import user_of_token
from accounts.ui.preferences import preferences_of
from core.principal import LEGACY, Duty, Principal, Source

LAST_USED_GRAIN = timedelta(minutes=1)
SESSION_API_KEY = "api_key_id"
SESSION_LEGACY = "legacy_key"


def load_principal(kind: Kind, secret: str) -> Principal | None:
    """The principal of a session key or an API key; None where it is not usable now.

    The owner has to be active for either (TOK-04).
    """
    now = timezone.now()
    if kind == "oidc":
        return _of_access_token(secret)
    return _of_session(secret, now) if kind == "session" else _of_api_key(secret, now)


def _of_access_token(token: str) -> Principal | None:
    """An access token of the provider (S-27); UnavailableError where it cannot be judged now."""
    found = user_of_token(token)
    if found is None:
        return None
    user, good_until = found
    return replace(_principal(user, "oidc"), good_until=good_until, stale=False)


def _of_api_key(secret: str, now: datetime) -> Principal | None:
    digests = [digest.hex for digest in keyring("api-key").digests(secret)]
    key = ApiKey.objects.select_related("user").filter(digest__in=digests).first()
    if key is None or not key.is_usable(now) or key.user.status != Status.ACTIVE:
        return None
    if key.digest != digests[0]:
        rehash(key, secret)
    return _principal(key.user, "apikey", key=key)


def _of_session(session_key: str, now: datetime) -> Principal | None:
    row = Session.objects.filter(pk=session_key, expire_date__gt=now).first()
    if row is None:
        return None
    data: dict[str, Any] = row.get_decoded()
    if SESSION_LEGACY in data:
        return _of_legacy_session(data[SESSION_LEGACY])
    if not auth_mode().accounts:
        return None
    user = _user(data.get(SESSION_KEY, ""))
    if user is None or not _hash_holds(user, data.get(HASH_SESSION_KEY, "")):
        return None
    key_id = data.get(SESSION_API_KEY)
    if key_id is None:
        return _principal(user, "web", session=row)
    key = ApiKey.objects.filter(pk=key_id, user=user).first()
    if key is None or not key.is_usable(now):
        return None  # the session ends with the key that made it (S-28)
    return _principal(user, "web", key=key, session=row)


def _of_legacy_session(marker: str) -> Principal | None:
    """A session that a legacy key made (S-41) lives as long as that key is configured."""
    stored_settings().fresh()  # what is found here is remembered: it must be of this moment
    known = auth_mode().known_legacy_keys
    markers = [keyring("session").digest(key.decode()).hex for key in known]
    return LEGACY if is_legacy_key(marker.encode(), [m.encode() for m in markers]) else None


def _user(user_id: str) -> User | None:
    try:
        return User.objects.filter(pk=user_id, status=Status.ACTIVE).first()
    except (ValidationError, ValueError):
        return None


def _hash_holds(user: User, given: str) -> bool:
    """The session's mark of the password, so that a new password ends old sessions."""
    if constant_time_compare(given, user.get_session_auth_hash()):
        return True
    return any(constant_time_compare(given, old) for old in user.get_session_auth_fallback_hash())


def _principal(
    user: User, source: Source, *, key: ApiKey | None = None, session: Session | None = None
) -> Principal:
    last_used_at = session.last_used_at if session else key.last_used_at if key else None
    return Principal(
        user_id=str(user.pk),
        name=user.display_name,
        email=user.email,
        role="admin" if user.role == "admin" else "user",
        source=source,
        features=features_of(user.role, user.permissions),
        key_id=str(key.pk) if key else None,
        key_name=key.name if key else None,
        session_key=session.session_key if session else None,
        models=frozenset(user.allowed_models) if user.models_restricted else None,
        duty=_duty(user) if source == "web" and key is None else None,
        stale=last_used_at is None or last_used_at < timezone.now() - LAST_USED_GRAIN,
        preferences=preferences_of(user),
    )


def _duty(user: User) -> Duty | None:
    """What a session of `user` has to do before anything else."""
    if user.must_change_password:
        return "password"
    if authenticators.is_required_of(user) and not authenticators.methods_of(user):
        return "factor"
    return None


def rehash(key: ApiKey, secret: str) -> None:
    """Keep the digest under the secret that signs now, so that the old one can be retired (S-46)."""
    digest = keyring("api-key").digest(secret)
    try:
        ApiKey.objects.filter(pk=key.pk).update(digest=digest.hex, digest_key_id=digest.key_id)
    except OperationalError:
        return


def touch(principal: Principal) -> None:
    """Write when a credential and its owner were last seen; a busy database loses it, not the request."""
    now = timezone.now()
    try:
        if principal.session_key is not None:
            Session.objects.filter(pk=principal.session_key).update(last_used_at=now)
        elif principal.key_id is not None:
            ApiKey.objects.filter(pk=principal.key_id).update(last_used_at=now)
        if principal.has_account:
            presence.seen(principal.user_id, now, before=now - LAST_USED_GRAIN)
    except OperationalError:
        return
