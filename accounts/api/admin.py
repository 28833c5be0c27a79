"""What admins ask and change: E-18, E-19, E-30 to E-32. (E-17 will show quotas: it is in usage.)"""

from typing import Any
from uuid import UUID

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import invites, people
from accounts.api.base import AccountView
from accounts.api.shapes import listed_invite, timestamp
from accounts.models import Invite, Role, Status, User
from core.drf import read_json
from core.errors import InvalidRequestError, NotFoundError


class UserRoleView(AccountView):
    """E-18."""

    def put(self, request: Request, user_id: UUID) -> Response:
        if str(user_id) == self.principal(request).user_id:
            raise InvalidRequestError("cannot change your own role")
        role = _choice(request, "role", {Role.ADMIN, Role.USER}, "'admin' or 'user'")
        people.set_role(user_id, role)
        return Response({"message": "role updated"})


class UserStatusView(AccountView):
    """E-19."""

    def put(self, request: Request, user_id: UUID) -> Response:
        if str(user_id) == self.principal(request).user_id:
            raise InvalidRequestError("cannot change your own status")
        allowed = {Status.ACTIVE, Status.DISABLED}
        status = _choice(request, "status", allowed, "'active' or 'disabled'")
        people.set_status(user_id, status)
        return Response({"message": "status updated"})


def _choice(request: Request, name: str, allowed: set[Any], words: str) -> str:
    invalid = f"{name} must be {words}"
    value = read_json(request._request, invalid=invalid).get(name)  # noqa: SLF001
    if not isinstance(value, str) or value not in allowed:
        raise InvalidRequestError(invalid, param=name)
    return value


class InvitesView(AccountView):
    """E-30 and E-31."""

    def get(self, request: Request) -> Response:
        found = Invite.objects.select_related("created_by", "used_by").order_by("-created_at")
        return Response({"invites": [listed_invite(invite) for invite in found]})

    def post(self, request: Request) -> Response:
        hours = invite_hours(read_json(request._request))  # noqa: SLF001
        principal = self.principal(request)
        by = User.objects.filter(pk=principal.user_id).first() if principal.has_account else None
        invite, code = invites.create(created_by=by, hours=hours, now=timezone.now())
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

    def delete(self, _request: Request, invite_id: UUID) -> Response:
        deleted, _ = Invite.objects.filter(pk=invite_id, used_at__isnull=True).delete()
        if not deleted:
            if Invite.objects.filter(pk=invite_id).exists():
                raise InvalidRequestError("cannot revoke a used invite")
            raise NotFoundError("invite not found")
        return Response({"message": "invite revoked"})
