"""Proofs by mail: `password/forgot`, `password/reset`, `email/verify`, `email/resend` (S-25)."""

from rest_framework.request import Request
from rest_framework.response import Response

from accounts import email_proofs
from accounts.api import answers, bodies
from accounts.api.base import AccountView
from accounts.api.entry import text_with_nul
from accounts.audit import actor_of
from accounts.registration import normalised_email
from core.declared import declares
from core.drf import flag, read_json, text


class ForgotView(AccountView):
    """Always 200 for anything that is an address: it tells nobody who is here."""

    @declares("Ask for a new password by mail", body=bodies.Address, answer=answers.Message)
    def post(self, request: Request) -> Response:
        data = read_json(request._request)  # noqa: SLF001
        email_proofs.forgotten(normalised_email(text(data, "email")))
        return Response({"message": "if there is an account, a letter is on its way"})


class ResetView(AccountView):
    @declares("Set the new password", body=bodies.PasswordReset, answer=answers.Message)
    def post(self, request: Request) -> Response:
        data = read_json(request._request)  # noqa: SLF001
        email_proofs.reset_password(
            text(data, "token"),
            text_with_nul(data, "password"),
            acknowledged=flag(data, "acknowledge_weak_password"),
            by=actor_of(request._request),  # noqa: SLF001
        )
        return Response({"message": "password updated"})


class VerifyView(AccountView):
    @declares("Confirm an address", body=bodies.Proof, answer=answers.Verified)
    def post(self, request: Request) -> Response:
        data = read_json(request._request)  # noqa: SLF001
        user = email_proofs.verify(text(data, "token"), by=actor_of(request._request))  # noqa: SLF001
        return Response({"message": "email verified", "pending": not user.is_active})


class ResendView(AccountView):
    """Always 200, signed in or not: who waits for the letter has no session yet."""

    @declares("Send the confirmation again", body=bodies.Address, answer=answers.Message)
    def post(self, request: Request) -> Response:
        data = read_json(request._request)  # noqa: SLF001
        email_proofs.send_again(normalised_email(text(data, "email")))
        return Response({"message": "if the address is not confirmed yet, a letter is on its way"})
