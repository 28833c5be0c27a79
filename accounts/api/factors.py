"""Second factors: the end of a sign-in (S-42), and adding and removing one's own."""

from typing import Any

from allauth.mfa.adapter import get_adapter
from allauth.mfa.totp.internal.auth import generate_totp_secret
from allauth.mfa.webauthn.internal import auth as webauthn
from django.core.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import sign_in
from accounts.api import answers, bodies
from accounts.api.base import AccountView
from accounts.api.shapes import brief_user, timestamp
from accounts.audit import actor_of
from accounts.factors import authenticators, challenge
from accounts.models import User
from core.declared import declares
from core.drf import flag, read_json, text
from core.errors import InvalidRequestError

SECRET = "totp_secret"  # noqa: S105  # the name of a place in the session


def credential_of(data: dict[str, Any]) -> dict[str, Any] | None:
    """A browser's credential, as JSON; None where there is none. Raises InvalidRequestError."""
    found = data.get("credential")
    if found is None:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("response", {}), dict):
        raise InvalidRequestError("invalid request", param="credential")
    return found


class FactorView(AccountView):
    """What all of these need: the account, and the code that proves its owner is there."""

    def confirm(self, request: Request, user: User, data: dict[str, Any]) -> None:
        """A current code, before a factor is taken away or codes are made anew."""
        challenge.take_try(request._request, user)  # noqa: SLF001
        authenticators.check_code(user, text(data, "code"))


class CompleteView(AccountView):
    """`POST /api/auth/mfa` ends a half-open sign-in; `GET` shows what one has."""

    @declares("One's second factors", answer=answers.OwnFactors)
    def get(self, request: Request) -> Response:
        user = self.user(request)
        found = authenticators.show(user)
        for passkey in found["passkeys"]:
            passkey["createdAt"] = timestamp(passkey.pop("created_at"))
            passkey["lastUsed"] = timestamp(passkey.pop("last_used_at"))
        return Response({"required": authenticators.is_required_of(user), **found})

    @declares(
        "End a sign-in with a second factor",
        body=bodies.SecondFactor,
        answer=answers.SignedIn,
        errors=(401,),
    )
    def post(self, request: Request) -> Response:
        data = read_json(request._request)  # noqa: SLF001
        user = challenge.complete(
            request._request,  # noqa: SLF001
            code=text(data, "code"),
            credential=credential_of(data),
        )
        return Response({"user": brief_user(user)})


class QuestionView(AccountView):
    """`POST /api/auth/mfa/start`: what to ask the browser's passkeys, for who owes a factor."""

    @declares("What to ask a passkey", answer=answers.PasskeyQuestion, errors=(401,))
    def post(self, request: Request) -> Response:
        user = challenge.whose(request._request)  # noqa: SLF001
        return Response(webauthn.begin_authentication(user))


class TotpStartView(FactorView):
    """A new secret, shown for the authenticator app; it counts once a code has come back."""

    @declares("A secret for one-time codes", answer=answers.TotpSecret, errors=(409,))
    def post(self, request: Request) -> Response:
        user, secret = self.user(request), generate_totp_secret()
        adapter = get_adapter()
        request._request.session[SECRET] = adapter.encrypt(secret)  # noqa: SLF001
        uri = adapter.build_totp_url(user, secret)
        return Response({"secret": secret, "uri": uri, "svg": adapter.build_totp_svg(uri)})


class TotpView(FactorView):
    @declares(
        "Set up one-time codes",
        body=bodies.Code,
        answer=answers.FactorAdded,
        status=201,
        errors=(401, 409, 429),
    )
    def post(self, request: Request) -> Response:
        data = read_json(request._request)  # noqa: SLF001
        kept = request._request.session.get(SECRET)  # noqa: SLF001
        if not kept:
            raise InvalidRequestError("start with POST /api/auth/mfa/totp/start")
        user = self.user(request)
        challenge.take_try(request._request, user)  # noqa: SLF001
        codes = authenticators.add_totp(
            user,
            get_adapter().decrypt(kept),
            text(data, "code"),
            by=actor_of(request._request),  # noqa: SLF001
        )
        del request._request.session[SECRET]  # noqa: SLF001
        return Response(
            {"message": "one-time codes are set up", "recovery_codes": codes}, status=201
        )

    @declares(
        "Remove one-time codes",
        body=bodies.Code,
        answer=answers.Message,
        errors=(401, 404, 409, 429),
    )
    def delete(self, request: Request) -> Response:
        user = self.user(request)
        self.confirm(request, user, read_json(request._request))  # noqa: SLF001
        authenticators.remove(user, "totp", by=actor_of(request._request))  # noqa: SLF001
        return Response({"message": "one-time codes are removed"})


class RecoveryCodesView(FactorView):
    @declares(
        "New recovery codes",
        body=bodies.Code,
        answer=answers.RecoveryCodes,
        errors=(401, 404, 409, 429),
    )
    def post(self, request: Request) -> Response:
        user = self.user(request)
        self.confirm(request, user, read_json(request._request))  # noqa: SLF001
        by = actor_of(request._request)  # noqa: SLF001
        return Response({"recovery_codes": authenticators.new_recovery_codes(user, by=by)})


class PasskeyStartView(FactorView):
    """What to ask the browser for a new passkey; `passwordless` makes it good for sign-in alone."""

    @declares("What to ask a new passkey", body=bodies.PasskeyStart, answer=answers.PasskeyQuestion)
    def post(self, request: Request) -> Response:
        data = read_json(request._request)  # noqa: SLF001
        options = webauthn.begin_registration(
            self.user(request), passwordless=flag(data, "passwordless")
        )
        return Response(options)


class PasskeysView(FactorView):
    @declares(
        "Add a passkey",
        body=bodies.Passkey,
        answer=answers.FactorAdded,
        status=201,
        errors=(401, 409),
    )
    def post(self, request: Request) -> Response:
        data = read_json(request._request)  # noqa: SLF001
        credential = credential_of(data)
        if credential is None:
            raise InvalidRequestError("credential is required", param="credential")
        codes = authenticators.add_passkey(
            self.user(request),
            text(data, "name").strip(),
            credential,
            by=actor_of(request._request),  # noqa: SLF001
        )
        body = {"message": "the passkey is added", **({"recovery_codes": codes} if codes else {})}
        return Response(body, status=201)


class PasskeyView(FactorView):
    @declares("Remove a passkey", answer=answers.Message, errors=(404, 409))
    def delete(self, request: Request, passkey_id: int) -> Response:
        by = actor_of(request._request)  # noqa: SLF001
        authenticators.remove(self.user(request), "passkey", by=by, passkey_id=passkey_id)
        return Response({"message": "the passkey is removed"})


class PasskeySignInStartView(AccountView):
    """What to ask any passkey of this server, before anybody is known."""

    @declares("What to ask any passkey", answer=answers.PasskeyQuestion)
    def post(self, request: Request) -> Response:
        request._request.session.set_expiry(challenge.LIFE_S)  # noqa: SLF001
        return Response(webauthn.begin_authentication())


class PasskeySignInView(AccountView):
    """A passkey alone: it is two factors by itself (possession, and the device's own check)."""

    @declares(
        "Sign in with a passkey", body=bodies.PasskeySignIn, answer=answers.SignedIn, errors=(401,)
    )
    def post(self, request: Request) -> Response:
        credential = credential_of(read_json(request._request))  # noqa: SLF001
        if credential is None:
            raise InvalidRequestError("credential is required", param="credential")
        try:
            user = webauthn.extract_user_from_response(credential)
        except (ValidationError, ValueError, TypeError, AttributeError) as exc:
            raise authenticators.WrongCodeError from exc
        challenge.take_try(request._request, user)  # noqa: SLF001
        authenticators.check_passkey(user, credential)
        sign_in.enter(request._request, user, method="passkey", second=True)  # noqa: SLF001
        return Response({"user": brief_user(user)})
