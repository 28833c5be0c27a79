"""Status, registration, sign-in and sign-out: E-01 to E-05."""

from typing import Any, cast

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import sessions
from accounts.api import answers, bodies
from accounts.api.base import AccountView
from accounts.api.shapes import brief_user, caller
from accounts.audit import actor_of
from accounts.features import effective_permissions
from accounts.models import User
from accounts.registration import Registration, register
from accounts.runtime import auth_mode, env
from accounts.runtime_settings.in_force import registration_mode
from accounts.sign_in import sign_in, sign_in_with_token
from accounts.social.availability import offered
from accounts.social.logout import end_session_url
from core.declared import declares
from core.drf import flag, read_json, text
from core.errors import InvalidRequestError
from core.http import GatedRequest


class StatusView(AccountView):
    """E-01."""

    @declares("Who is signed in, and how one can", answer=answers.ServerStatus)
    def get(self, request: Request) -> Response:
        principal = cast("GatedRequest", request._request).principal  # noqa: SLF001
        mode = auth_mode()
        on = mode.accounts
        body: dict[str, Any] = {
            "authEnabled": on,
            "staticApiKeyRequired": not on and mode.has_legacy_keys,
            "providers": providers() if on else [],
            "hasUsers": on and User.objects.exists(),
            "registrationMode": registration_mode() if on else "",
            "user": None,
        }
        if principal is not None and not mode.is_open:
            account = principal.has_account
            user = User.objects.filter(pk=principal.user_id).first() if account else None
            body["user"] = caller(principal, user)
            if on:
                stored = user.permissions if user else {}
                body["user"]["permissions"] = effective_permissions(principal.role, stored)
        return Response(body)


def providers() -> list[str]:
    """What can be signed in with now, in the contract's order; nothing that does not work (W-14)."""
    return [*([] if env().disable_local_auth else ["local"]), *offered()]


class RegisterView(AccountView):
    """E-02."""

    @declares(
        "Make an account",
        body=bodies.Registration,
        body_example={**bodies.EXAMPLE_SIGN_IN, "name": "Alice"},
        answer=answers.SignedIn | answers.Message,
        status=201,
        example={"user": answers.EXAMPLE_USER},
        more={200: answers.Waiting},
        errors=(409,),
    )
    def post(self, request: Request) -> Response:
        data = read_json(request._request)  # noqa: SLF001
        asked = Registration(
            email=text(data, "email"),
            password=text_with_nul(data, "password"),
            name=text(data, "name"),
            invite_code=text(data, "inviteCode"),
            acknowledge_weak_password=flag(data, "acknowledge_weak_password"),
            setup_token=text(data, "setup_token"),
        )
        outcome = register(asked, now=timezone.now(), by=actor_of(request._request))  # noqa: SLF001
        if outcome.pending:
            waits = {"mail": "check your mail", "approval": "awaiting admin approval"}
            message = f"registration successful, {waits[outcome.waits_for]}"
            return Response({"message": message, "pending": True})
        if outcome.user is None:
            return Response({"message": "registration processed"}, status=201)
        sessions.begin(request._request, outcome.user, method="registration")  # noqa: SLF001
        return Response({"user": brief_user(outcome.user)}, status=201)


def text_with_nul(data: dict[str, Any], name: str) -> str:
    """A password may hold a NUL here: the policy has an error of its own for it."""
    value = data.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > 4096:
        raise InvalidRequestError("invalid request", param=name)
    return value


class LoginView(AccountView):
    """E-03."""

    @declares(
        "Sign in with address and password",
        body=bodies.SignIn,
        body_example=bodies.EXAMPLE_SIGN_IN,
        answer=answers.SignedIn | answers.FactorOwed,
        example={"user": answers.EXAMPLE_USER},
        errors=(401,),
    )
    def post(self, request: Request) -> Response:
        data = read_json(request._request)  # noqa: SLF001
        email, password = text(data, "email"), text_with_nul(data, "password")
        user, owed = sign_in(request._request, email, password)  # noqa: SLF001
        if owed:
            return Response({"mfa_required": True, "methods": owed})
        body: dict[str, Any] = {"user": brief_user(user)}
        if user.must_change_password:
            body["password_change_required"] = True
        return Response(body)


class TokenLoginView(AccountView):
    """E-04."""

    @declares("Sign in with an API key", body=bodies.Token, answer=answers.SignedIn, errors=(401,))
    def post(self, request: Request) -> Response:
        data = read_json(request._request, invalid="token is required")  # noqa: SLF001
        token = text(data, "token", invalid="token is required")
        return Response({"user": sign_in_with_token(request._request, token)})  # noqa: SLF001


class LogoutView(AccountView):
    """E-05."""

    @declares("Sign out", answer=answers.SignedOut)
    def post(self, request: Request) -> Response:
        redirect = end_session_url(request._request)  # noqa: SLF001
        sessions.end(request._request)  # noqa: SLF001
        return Response({"message": "logged out", **({"redirect": redirect} if redirect else {})})
