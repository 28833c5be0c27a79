"""Django's admin site for those who approve: people, keys (never the secret), invites."""

from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.sites import AdminSite
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone

from accounts import api_keys, people
from accounts.audit import actor_of
from accounts.models import ApiKey, Invite, Role, Status, User
from core.errors import GatehouseError

AdminSite.site_header = "Gatehouse"
AdminSite.site_title = "Gatehouse"
AdminSite.index_title = "People"


def _to_login(_self: AdminSite, _request: HttpRequest, _context: Any = None) -> HttpResponse:
    """One sign-in for everything: the product's, with its limits."""
    return HttpResponseRedirect("/login?next=/admin/")


AdminSite.login = _to_login  # type: ignore[method-assign,assignment]


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows that services make and change; here they are looked at and acted upon."""

    def has_add_permission(self, _request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False


@admin.register(User)
class UserAdmin(ReadOnlyAdmin):
    list_display = ("email", "name", "role", "status", "provider", "created_at")
    list_filter = ("status", "role", "provider")
    search_fields = ("email", "name")
    ordering = ("created_at",)
    fields = ("id", "email", "name", "role", "status", "provider", "created_at", "last_login")
    actions = ["approve", "disable", "make_admin", "make_user"]

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False

    @admin.action(description="Approve or enable", permissions=["view"])
    def approve(self, request: HttpRequest, chosen: QuerySet[User]) -> None:
        self._each(request, chosen, partial(people.set_status, status=Status.ACTIVE))

    @admin.action(description="Disable", permissions=["view"])
    def disable(self, request: HttpRequest, chosen: QuerySet[User]) -> None:
        self._each(request, chosen, partial(people.set_status, status=Status.DISABLED))

    @admin.action(description="Make admin", permissions=["view"])
    def make_admin(self, request: HttpRequest, chosen: QuerySet[User]) -> None:
        self._each(request, chosen, partial(people.set_role, role=Role.ADMIN))

    @admin.action(description="Make user", permissions=["view"])
    def make_user(self, request: HttpRequest, chosen: QuerySet[User]) -> None:
        self._each(request, chosen, partial(people.set_role, role=Role.USER))

    def _each(self, request: HttpRequest, chosen: QuerySet[User], change: Any) -> None:
        """Apply one change to each, oneself left out; say what did not work."""
        done = 0
        for user in chosen:
            if user.pk == request.user.pk:
                self.message_user(request, "Your own account is left as it is.", messages.WARNING)
                continue
            try:
                change(user.pk, by=actor_of(request))
            except GatehouseError as exc:
                self.message_user(request, f"{user.email}: {exc.message}", messages.ERROR)
            else:
                done += 1
        if done:
            self.message_user(request, f"{done} changed.", messages.SUCCESS)


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    list_display = ("name", "prefix", "user", "created_at", "last_used_at", "expires_at")
    list_select_related = ("user",)
    search_fields = ("name", "prefix", "user__email")
    fields = ("id", "name", "prefix", "user", "created_at", "last_used_at", "expires_at")

    def delete_model(self, request: HttpRequest, obj: ApiKey) -> None:
        api_keys.revoke(obj.pk, owner_id=obj.user_id, by=actor_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        for key in queryset:
            self.delete_model(request, key)


@admin.register(Invite)
class InviteAdmin(ReadOnlyAdmin):
    list_display = ("prefix", "state_now", "created_by", "used_by", "created_at", "expires_at")
    list_select_related = ("created_by", "used_by")
    fields = ("id", "prefix", "created_by", "used_by", "created_at", "expires_at", "used_at")

    @admin.display(description="State")
    def state_now(self, invite: Invite) -> str:
        return invite.state(timezone.now())

    def has_delete_permission(self, _request: HttpRequest, obj: Any = None) -> bool:
        return obj is None or obj.used_at is None
