"""The half-open sign-in: who has shown a password or a provider, and still owes a factor (S-42)."""

import time

from django.http import HttpRequest

from accounts import sessions
from accounts.audit import Actor, Subject, record
from accounts.changes import credentials_added
from accounts.factors import authenticators
from accounts.limits import address_of, sign_in_rate
from accounts.models import Status, User
from accounts.runtime import attempts
from core.attempts import Rate
from core.errors import RateLimitedError, UnauthenticatedError

LIFE_S = 600
_TRIES = Rate(10, 900.0)
_USER, _METHOD, _SINCE = "challenged_user", "challenged_method", "challenged_at"


def begin(request: HttpRequest, user: User, *, method: str) -> None:
    """Remember who came so far, in a session that is nobody's yet and lives ten minutes."""
    credentials_added()
    request.session.flush()
    request.session[_USER] = str(user.pk)
    request.session[_METHOD] = method
    request.session[_SINCE] = time.time()
    request.session.set_expiry(LIFE_S)


def whose(request: HttpRequest) -> User:
    """Who owes a factor on this browser. Raises UnauthenticatedError where nobody does, or too late."""
    user_id, since = request.session.get(_USER), request.session.get(_SINCE, 0)
    if user_id is None or time.time() - since > LIFE_S:
        raise UnauthenticatedError
    user = User.objects.filter(pk=user_id, status=Status.ACTIVE).first()
    if user is None:
        raise UnauthenticatedError
    return user


def take_try(request: HttpRequest, user: User) -> None:
    """Ten wrong codes in a quarter of an hour and network; RateLimitedError after that."""
    if sign_in_rate().count == 0:
        return
    wait_s = attempts().take("factor", f"{user.pk}|{address_of(request)}", _TRIES)
    if wait_s:
        raise RateLimitedError(retry_after_s=wait_s)


def complete(
    request: HttpRequest, *, code: str = "", credential: dict[str, object] | None = None
) -> User:
    """Sign in whoever owes a factor and shows one. Raises WrongCodeError, RateLimitedError."""
    user = whose(request)
    take_try(request, user)
    first = request.session.get(_METHOD, "")
    try:
        if credential is not None:
            kind = authenticators.check_passkey(user, credential)
        else:
            kind = authenticators.check_code(user, code)
    except authenticators.WrongCodeError:
        actor = Actor("", "", "anonymous", address_of(request))
        about = Subject(user.pk, user.email)
        record("sign_in_failed", actor, about, after={"reason": "wrong_factor"})
        raise
    request.session.flush()
    sessions.begin(request, user, method=f"{first}+{kind}")
    return user
