"""Letting somebody in by password or by key, whichever page or endpoint they use (E-03, E-04)."""

from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from accounts import api_keys, people, sessions
from accounts.api.shapes import brief_user
from accounts.audit import Actor, Subject, actor_of, record
from accounts.factors import authenticators, challenge
from accounts.limits import note_failure, note_success, slow_down_failures
from accounts.mail import letters
from accounts.models import Provider, Role, Status, User
from accounts.registration import burn_password, is_proven_admin
from accounts.runtime import auth_mode, env
from accounts.runtime_settings.in_force import registration_mode
from core.errors import ForbiddenError, GatehouseError, InvalidRequestError
from core.principal import LEGACY


class WrongPasswordError(GatehouseError):
    """401 with the one text that tells neither which part was wrong."""

    status = 401
    reason = "unauthenticated"
    message = "invalid email or password"


CONFIRM_FIRST = "confirm your email address first"


class AccountPendingError(ForbiddenError):
    message = "account pending admin approval"

    @property
    def by_mail(self) -> bool:
        """Whether its owner waits for nobody but has a letter to follow."""
        return self.message == CONFIRM_FIRST


class AccountDisabledError(ForbiddenError):
    message = "account disabled"


class InvalidTokenError(GatehouseError):
    status = 401
    reason = "unauthenticated"
    message = "invalid token"


def sign_in(request: HttpRequest, email: str, password: str) -> tuple[User, list[str]]:
    """Sign the person with this address and password in on this browser, or raise.

    The list names the second factors that are still owed; empty where the session has begun.

    Unknown address and wrong password take the same time and say the same (W-21).
    """
    if env().disable_local_auth:
        raise ForbiddenError("local login is disabled, please use OAuth")
    email = email.strip().lower()
    if not email or not password:
        raise InvalidRequestError("email and password are required")
    if "\0" in email:
        raise WrongPasswordError
    slow_down_failures(email, request)
    user = User.objects.filter(email=email, provider=Provider.LOCAL).first()
    if user is None:
        burn_password(password)
    if user is None or not user.check_password(password):
        note_failure(email, request)
        _record_refusal(request, user, "wrong_password" if user else "unknown_address")
        raise WrongPasswordError
    note_success(email, request)
    return user, enter(request, user, method="password")


def enter(request: HttpRequest, user: User, *, method: str, second: bool = False) -> list[str]:
    """Sign in somebody who has just proven who they are, by whichever method.

    Where the account has a second factor, and `second` was not shown with the first, the sign-in is
    left half-open and the kinds that may be shown are returned (S-42); else an empty list.
    LOCALAI_ADMIN_EMAIL's account becomes an admin here, where its address is proven (S-01). Raises
    AccountPendingError and AccountDisabledError.
    """
    if is_proven_admin(user) and user.role != Role.ADMIN and user.status != Status.DISABLED:
        setting = Actor("", "LOCALAI_ADMIN_EMAIL", "setting", actor_of(request).address)
        user.role = people.set_role(user.pk, Role.ADMIN, by=setting).role
        user.status = people.set_status(user.pk, Status.ACTIVE, by=setting).status
    if user.status != Status.ACTIVE:
        _record_refusal(request, user, f"account_{user.status}")
        if user.status != Status.PENDING:
            raise AccountDisabledError
        by_mail = registration_mode() == "open" and letters.is_configured()
        raise AccountPendingError(CONFIRM_FIRST if by_mail else "")
    owed = [] if second else authenticators.methods_of(user)
    if owed:
        challenge.begin(request, user, method=method)
    else:
        sessions.begin(request, user, method=method)
    return owed


def _record_refusal(request: HttpRequest, user: User | None, why: str) -> None:
    """An address without an account is not written down: people type passwords there, too."""
    about = Subject(user.pk, user.email) if user else Subject("", "")
    record("sign_in_failed", actor_of(request), about, after={"reason": why})


def sign_in_with_token(request: HttpRequest, token: str) -> dict[str, Any]:
    """E-04: an API key or a legacy key for a browser session; the `user` object of the answer."""
    token = token.strip()
    if not token:
        raise InvalidRequestError("token is required")
    if env().auth:
        key = api_keys.find(token, now=timezone.now())
        if key is not None:
            sessions.begin(request, key.user, method="api_key", api_key=key)
            return brief_user(key.user)
    if known := auth_mode().legacy_key(token.encode()):
        sessions.begin_legacy(request, known.decode())
        return {"id": LEGACY.user_id, "name": LEGACY.name, "role": LEGACY.role}
    _record_refusal(request, None, "invalid_token")
    raise InvalidTokenError
