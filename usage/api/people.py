"""Who am I, who is there, and who goes: E-06, E-17, E-21."""

from typing import Any
from uuid import UUID

from django.db import transaction
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import people
from accounts.api.answers import Message
from accounts.api.audit import page_number
from accounts.api.base import AccountView
from accounts.api.shapes import caller, listed_user
from accounts.audit import actor_of
from accounts.features import effective_permissions
from accounts.models import User
from accounts.presence import last_seen
from core.declared import declares
from usage.api import shapes
from usage.quotas.service import statuses, statuses_of
from usage.series import forget_user


class MeView(AccountView):
    """E-06."""

    @declares("Who I am and what I may", answer=shapes.Me)
    def get(self, request: Request) -> Response:
        principal = self.principal(request)
        user = User.objects.get(pk=principal.user_id) if principal.has_account else None
        body = caller(principal, user)
        body["permissions"] = effective_permissions(
            principal.role, user.permissions if user else {}
        )
        body["quotas"] = statuses_of(principal.user_id)
        return Response(body)


class UsersView(AccountView):
    """E-17: everybody, or a page by `limit` and `offset`."""

    @declares("Everybody", query=shapes.PeopleQuery, answer=shapes.ListedUsers)
    def get(self, request: Request) -> Response:
        users = User.objects.order_by("created_at", "pk")
        given = request.query_params
        paged = bool(given.get("limit") or given.get("offset"))
        if paged:
            limit = page_number(given.get("limit", ""), "limit", 100, 1, 1000)
            offset = page_number(given.get("offset", ""), "offset", 0, 0, 10_000_000)
            users = users[offset : offset + limit]
        found = list(users)
        quotas = statuses([str(user.pk) for user in found])
        return Response({"users": [_listed(each, quotas) for each in found]})


def _listed(user: User, quotas: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """An item of E-17: `quotas` only where there are any."""
    mine = quotas.get(str(user.pk))
    return {**listed_user(user, last_seen(user)), **({"quotas": mine} if mine else {})}


class UserView(AccountView):
    """E-21: the account goes, its usage stays as nobody's (S-19)."""

    @declares("Delete an account", answer=Message, errors=(404, 409))
    def delete(self, request: Request, user_id: UUID) -> Response:
        self.refuse_self(request, user_id, "cannot delete yourself")
        with transaction.atomic():
            people.delete(user_id, by=actor_of(request._request))  # noqa: SLF001
            forget_user(user_id)
        return Response({"message": "user deleted"})
