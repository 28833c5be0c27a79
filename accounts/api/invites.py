"""Invites: E-30 to E-32 for admins, E-37 for whoever holds a link."""

from typing import Any
from uuid import UUID

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import invites
from accounts.api import answers, bodies
from accounts.api.base import AccountView
from accounts.api.shapes import listed_invite, timestamp
from accounts.audit import actor_of
from accounts.models import Invite, User
from core.declared import declares
from core.drf import read_json
from core.errors import InvalidRequestError


class InvitesView(AccountView):
    """E-30 and E-31."""

    @declares("All invites", answer=answers.ListedInvites)
    def get(self, _request: Request) -> Response:
        found = Invite.objects.select_related("created_by", "used_by").order_by("-created_at")
        return Response({"invites": [listed_invite(invite) for invite in found]})

    @declares("Make an invite", body=bodies.NewInvite, answer=answers.MadeInvite, status=201)
    def post(self, request: Request) -> Response:
        hours = invite_hours(read_json(request._request))  # noqa: SLF001
        principal = self.principal(request)
        maker = User.objects.filter(pk=principal.user_id).first() if principal.has_account else None
        by = actor_of(request._request)  # noqa: SLF001
        invite, code = invites.create(created_by=maker, hours=hours, now=timezone.now(), by=by)
        body = {
            "id": str(invite.pk),
            "code": code,
            "expiresAt": timestamp(invite.expires_at),
            "createdAt": timestamp(invite.created_at),
        }
        return Response(body, status=201)


def invite_hours(data: dict[str, Any]) -> int:
    """`expiresInHours`: 1 to 8760, 168 where it is missing (S-22)."""
    hours = data.get("expiresInHours")
    if hours is None:
        return invites.DEFAULT_HOURS
    if isinstance(hours, bool) or not isinstance(hours, int) or not 1 <= hours <= invites.MAX_HOURS:
        raise InvalidRequestError(
            f"expiresInHours must be between 1 and {invites.MAX_HOURS}", param="expiresInHours"
        )
    return hours


class InviteView(AccountView):
    """E-32."""

    @declares("Revoke an invite", answer=answers.Message, errors=(404, 409))
    def delete(self, request: Request, invite_id: UUID) -> Response:
        invites.revoke(invite_id, by=actor_of(request._request))  # noqa: SLF001
        return Response({"message": "invite revoked"})


class InviteCheckView(AccountView):
    """E-37: whether a code is good for a registration now, and not why not (C-02)."""

    @declares("Whether an invite is good", answer=answers.InviteValid)
    def get(self, _request: Request, code: str) -> Response:
        return Response({"valid": invites.find_usable(code, now=timezone.now()) is not None})
