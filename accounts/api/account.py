"""What people change about their own account: E-08 to E-10, and the sessions of S-25."""

from urllib.parse import urlsplit
from uuid import UUID

from django.db import transaction
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import own_account, sessions
from accounts.api import answers, bodies
from accounts.api.base import AccountView
from accounts.api.entry import text_with_nul
from accounts.api.shapes import listed_session
from accounts.audit import actor_of, record
from accounts.models import Session
from accounts.people import subject
from core.declared import declares
from core.drf import flag, read_json, required_name, text
from core.errors import InvalidRequestError, NotFoundError

MAX_AVATAR_CHARS = 512


class ProfileView(AccountView):
    """E-08: name and avatar, nothing else whatever the body says."""

    @declares("Change name and picture", body=bodies.Profile, answer=answers.ProfileSaved)
    def put(self, request: Request) -> Response:
        data = read_json(request._request)  # noqa: SLF001
        name, avatar_url = required_name(text(data, "name")), avatar(text(data, "avatar_url"))
        user = own_account.set_profile(
            UUID(self.principal(request).user_id),
            name=name,
            avatar_url=avatar_url,
            by=actor_of(request._request),  # noqa: SLF001
        )
        body = {"message": "profile updated", "name": user.name, "avatarUrl": user.avatar_url}
        return Response(body)


def avatar(given: str) -> str:
    """An http(s) address, or nothing. Raises InvalidRequestError (W-20)."""
    url = given.strip()
    if len(url) > MAX_AVATAR_CHARS:
        raise InvalidRequestError(
            f"avatar URL must be at most {MAX_AVATAR_CHARS} characters", param="avatar_url"
        )
    try:
        parts = urlsplit(url)
    except ValueError as exc:
        raise InvalidRequestError("avatar URL is not valid", param="avatar_url") from exc
    if url and (
        parts.scheme not in {"http", "https"} or not parts.hostname or not url.isprintable()
    ):
        raise InvalidRequestError("avatar URL must be an http or https address", param="avatar_url")
    return url


class PasswordView(AccountView):
    """E-09."""

    @declares("Change the password", body=bodies.NewPassword, answer=answers.Message, errors=(401,))
    def put(self, request: Request) -> Response:
        user = self.user(request)
        own_account.refuse_without_password(user)
        data = read_json(request._request)  # noqa: SLF001
        own_account.change_password(
            request._request,  # noqa: SLF001
            user,
            current=text_with_nul(data, "current_password"),
            new=text_with_nul(data, "new_password"),
            acknowledged=flag(data, "acknowledge_weak_password"),
            revoke_api_keys=flag(data, "revoke_api_keys"),
        )
        return Response({"message": "password updated"})


class SessionsView(AccountView):
    """`GET /api/auth/sessions` (S-25) and E-10."""

    @declares("One's sessions", answer=answers.OwnSessions)
    def get(self, request: Request) -> Response:
        principal = self.principal(request)
        rows = Session.objects.filter(user_id=principal.user_id).order_by("-created_at")[:200]
        current = principal.session_key
        return Response({"sessions": [listed_session(row, current=current) for row in rows]})

    @declares("End all other sessions", answer=answers.Message)
    @transaction.atomic
    def delete(self, request: Request) -> Response:
        user = self.user(request)
        record("sessions_ended", actor_of(request._request), subject(user))  # noqa: SLF001
        sessions.end_others(request._request, user)  # noqa: SLF001
        return Response({"message": "all other sessions revoked"})


class SessionView(AccountView):
    """`DELETE /api/auth/sessions/:id` (S-25)."""

    @declares("End one session", answer=answers.Message, errors=(404,))
    def delete(self, request: Request, session_id: UUID) -> Response:
        by = actor_of(request._request)  # noqa: SLF001
        if not sessions.end_one(session_id, owner_id=self.principal(request).user_id, by=by):
            raise NotFoundError("session not found")
        return Response({"message": "session revoked"})
