"""Status, registration, sign-in and sign-out: E-01 to E-05."""

from typing import Any, cast

from django.http import HttpRequest
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import api_keys, sessions
from accounts.api.base import AccountView
from accounts.api.shapes import brief_user, caller
from accounts.credentials import is_legacy_key
from accounts.features import effective_permissions
from accounts.limits import note_failure, note_success, slow_down_failures
from accounts.models import Provider, Status, User
from accounts.registration import Registration, burn_password, register
from accounts.runtime import auth_mode, env
from core.drf import flag, read_json, text
from core.errors import ForbiddenError, GatehouseError, InvalidRequestError, NotFoundError
from core.http import GatedRequest
from core.principal import LEGACY


class WrongPasswordError(GatehouseError):
    """401 with the one text that tells neither which part was wrong."""

    status = 401
    reason = "unauthenticated"
    message = "invalid email or password"


class InvalidTokenError(GatehouseError):
    status = 401
    reason = "unauthenticated"
    message = "invalid token"


def only_with_accounts() -> None:
    """These routes exist only where LOCALAI_AUTH is on (G-07)."""
    if not env().auth:
        raise NotFoundError


class StatusView(AccountView):
    """E-01."""

    def get(self, request: Request) -> Response:
        principal = cast("GatedRequest", request._request).principal  # noqa: SLF001
        mode = auth_mode()
        on = mode.accounts
        body: dict[str, Any] = {
            "authEnabled": on,
            "staticApiKeyRequired": not on and bool(mode.legacy_keys),
            "providers": ["local"] if on and not env().disable_local_auth else [],
            "hasUsers": on and User.objects.exists(),
            "registrationMode": env().registration_mode if on else "",
            "user": None,
        }
        if principal is not None and not mode.is_open:
            account = principal.has_account
            user = User.objects.filter(pk=principal.user_id).first() if account else None
            body["user"] = caller(principal, user)
            if on:
                body["user"]["permissions"] = effective_permissions(principal.role)
        return Response(body)


class RegisterView(AccountView):
    """E-02."""

    def post(self, request: Request) -> Response:
        only_with_accounts()
        data = read_json(request._request)  # noqa: SLF001
        asked = Registration(
            email=text(data, "email"),
            password=text_with_nul(data, "password"),
            name=text(data, "name"),
            invite_code=text(data, "inviteCode"),
            acknowledge_weak_password=flag(data, "acknowledge_weak_password"),
            setup_token=text(data, "setup_token"),
        )
        outcome = register(asked, now=timezone.now())
        if outcome.pending:
            message = "registration successful, awaiting admin approval"
            return Response({"message": message, "pending": True})
        if outcome.user is None:
            return Response({"message": "registration processed"}, status=201)
        sessions.begin(request._request, outcome.user)  # noqa: SLF001
        return Response({"user": brief_user(outcome.user)}, status=201)


def text_with_nul(data: dict[str, Any], name: str) -> str:
    """A password may hold a NUL here: the policy has an error of its own for it."""
    value = data.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > 4096:
        raise InvalidRequestError("invalid request", param=name)
    return value


def sign_in(request: HttpRequest, email: str, password: str) -> User:
    """Sign the person with this address and password in on this browser, or raise.

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
        note_failure(email, request)
        raise WrongPasswordError
    if not user.check_password(password):
        note_failure(email, request)
        raise WrongPasswordError
    if user.status == Status.PENDING:
        raise ForbiddenError("account pending admin approval")
    if user.status != Status.ACTIVE:
        raise ForbiddenError("account disabled")
    note_success(email, request)
    sessions.begin(request, user)
    return user


class LoginView(AccountView):
    """E-03."""

    def post(self, request: Request) -> Response:
        only_with_accounts()
        data = read_json(request._request)  # noqa: SLF001
        email, password = text(data, "email"), text_with_nul(data, "password")
        user = sign_in(request._request, email, password)  # noqa: SLF001
        return Response({"user": brief_user(user)})


def sign_in_with_token(request: HttpRequest, token: str) -> dict[str, Any]:
    """E-04: an API key or a legacy key for a browser session; the `user` object of the answer."""
    token = token.strip()
    if not token:
        raise InvalidRequestError("token is required")
    if env().auth:
        key = api_keys.find(token, now=timezone.now())
        if key is not None:
            sessions.begin(request, key.user, api_key=key)
            return brief_user(key.user)
    if is_legacy_key(token.encode(), auth_mode().legacy_keys):
        sessions.begin_legacy(request, token)
        return {"id": LEGACY.user_id, "name": LEGACY.name, "role": LEGACY.role}
    raise InvalidTokenError


class TokenLoginView(AccountView):
    """E-04."""

    def post(self, request: Request) -> Response:
        if auth_mode().is_open:
            raise NotFoundError
        data = read_json(request._request, invalid="token is required")  # noqa: SLF001
        token = text(data, "token", invalid="token is required")
        return Response({"user": sign_in_with_token(request._request, token)})  # noqa: SLF001


class LogoutView(AccountView):
    """E-05."""

    def post(self, request: Request) -> Response:
        only_with_accounts()
        sessions.end(request._request)  # noqa: SLF001
        return Response({"message": "logged out"})
