"""Django's admin site for those who approve: people, keys (never the secret), sessions, invites, audit."""

from functools import partial
from typing import Any

from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django import forms
from django.contrib import admin, messages
from django.contrib.admin.exceptions import NotRegistered
from django.contrib.admin.sites import AdminSite
from django.db.models import Case, QuerySet, When
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone

from accounts import api_keys, invites, people, sessions
from accounts.audit import actor_of
from accounts.devices import device_of
from accounts.features import (
    AGENT_FEATURES,
    ALL_FEATURES,
    API_FEATURES,
    GENERAL_FEATURES,
    features_of,
)
from accounts.models import ApiKey, AuditRecord, Invite, Role, Session, Status, User
from accounts.runtime import env
from core.errors import GatehouseError

AdminSite.site_header = "Gatehouse"
AdminSite.site_title = "Gatehouse"
AdminSite.index_title = "People"
PAGE = 100


def _to_login(_self: AdminSite, _request: HttpRequest, _context: Any = None) -> HttpResponse:
    """One sign-in for everything: the product's, with its limits."""
    return HttpResponseRedirect("/login?next=/admin/")


AdminSite.login = _to_login  # type: ignore[method-assign,assignment]
for model in (EmailAddress, SocialAccount, SocialApp, SocialToken):  # allauth's own, not used so
    try:
        admin.site.unregister(model)
    except NotRegistered:
        continue


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows that services make and change; here they are looked at and acted upon."""

    list_per_page = PAGE
    show_full_result_count = False

    def has_add_permission(self, _request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False


class RightsForm(forms.ModelForm):  # type: ignore[type-arg]
    """What somebody may do: features one by one, and the models they are kept to."""

    features = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        choices=[*AGENT_FEATURES.items(), *GENERAL_FEATURES.items(), *API_FEATURES.items()],
    )
    only_these_models = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="One a line. Counts where the restriction is on.",
    )

    class Meta:
        model = User
        fields = ("models_restricted",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        user = self.instance
        self.initial["features"] = features_of("user", user.permissions)
        self.initial["only_these_models"] = "\n".join(user.allowed_models)

    def clean_only_these_models(self) -> list[str]:
        lines = [line.strip() for line in self.cleaned_data["only_these_models"].splitlines()]
        return list(dict.fromkeys(line[:255] for line in lines if line))


@admin.register(User)
class UserAdmin(ReadOnlyAdmin):
    form = RightsForm
    list_display = ("email", "name", "role", "status", "provider", "created_at")
    list_filter = ("status", "role", "provider")
    search_fields = ("email", "name")
    readonly_fields = (
        *("id", "email", "email_verified_at", "name", "role", "role_source", "status", "provider"),
        *("created_at", "last_login"),
    )
    fields = (*readonly_fields, "features", "models_restricted", "only_these_models")
    actions = ["approve", "decline", "disable", "make_admin", "make_user"]

    def has_change_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return True

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:  # noqa: FBT001
        """By the services, so that it bites at once and is in the trail."""
        wanted = set(form.cleaned_data["features"])
        before = User.objects.get(pk=obj.pk)
        had = features_of("user", before.permissions)
        if wanted != had:
            permissions = {name: name in wanted for name in ALL_FEATURES}
            people.set_permissions(obj.pk, permissions, by=actor_of(request))
        models = form.cleaned_data["only_these_models"]
        restricted = form.cleaned_data["models_restricted"]
        if (restricted, models) != (before.models_restricted, before.allowed_models):
            by = actor_of(request)
            people.set_models(obj.pk, restricted=restricted, models=models, by=by)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Who waits comes first, then by age."""
        waiting = Case(When(status=Status.PENDING, then=0), default=1)
        return super().get_queryset(request).order_by(waiting, "created_at")

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False

    @admin.action(description="Approve or enable", permissions=["view"])
    def approve(self, request: HttpRequest, chosen: QuerySet[User]) -> None:
        self._each(request, chosen, partial(people.set_status, status=Status.ACTIVE))

    @admin.action(description="Decline who waits", permissions=["view"])
    def decline(self, request: HttpRequest, chosen: QuerySet[User]) -> None:
        self._each(request, chosen.filter(status=Status.PENDING), people.decline)

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


@admin.register(Session)
class SessionAdmin(ReadOnlyAdmin):
    """Signed-in browsers. What is in a form here is no credential: cookies are signed."""

    list_display = ("user", "device", "address", "created_at", "last_used_at", "expire_date")
    list_select_related = ("user",)
    search_fields = ("user__email", "address")
    fields = ("public_id", "user", "device", "address", "created_at", "last_used_at", "expire_date")
    readonly_fields = ("device",)
    list_display_links = None
    actions = ["end"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Session]:
        return super().get_queryset(request).filter(user__isnull=False).order_by("-last_used_at")

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False

    @admin.display(description="Device")
    def device(self, session: Session) -> str:
        return device_of(session.user_agent)

    @admin.action(description="End", permissions=["view"])
    def end(self, request: HttpRequest, chosen: QuerySet[Session]) -> None:
        for row in chosen:
            sessions.end_one(row.public_id, owner_id=str(row.user_id), by=actor_of(request))


class InviteForm(forms.ModelForm):  # type: ignore[type-arg]
    hours = forms.IntegerField(
        min_value=1, max_value=invites.MAX_HOURS, initial=invites.DEFAULT_HOURS
    )

    class Meta:
        model = Invite
        fields = ()


@admin.register(Invite)
class InviteAdmin(ReadOnlyAdmin):
    list_display = ("prefix", "state_now", "created_by", "used_by", "created_at", "expires_at")
    list_select_related = ("created_by", "used_by")
    ordering = ("-created_at",)
    form = InviteForm

    def has_add_permission(self, _request: HttpRequest) -> bool:
        return True

    def get_fields(self, _request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        if obj is None:
            return ("hours",)
        return ("id", "prefix", "created_by", "used_by", "created_at", "expires_at", "used_at")

    def save_model(self, request: HttpRequest, obj: Invite, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's
        """Made by the service, which knows the code; the link is shown this once."""
        made, code = invites.create(
            created_by=User.objects.filter(email=request.user.get_username()).first(),
            hours=form.cleaned_data["hours"],
            now=timezone.now(),
            by=actor_of(request),
        )
        obj.__dict__.update(made.__dict__)
        link = f"{env().public_url}/invite/{code}"
        self.message_user(request, f"Copy the link now, it is not shown again: {link}")

    @admin.display(description="State")
    def state_now(self, invite: Invite) -> str:
        return invite.state(timezone.now())

    def has_delete_permission(self, _request: HttpRequest, obj: Any = None) -> bool:
        return obj is not None and obj.used_at is None

    def delete_model(self, request: HttpRequest, obj: Invite) -> None:
        invites.revoke(obj.pk, by=actor_of(request))


@admin.register(AuditRecord)
class AuditRecordAdmin(ReadOnlyAdmin):
    """The trail, to be read."""

    list_display = ("at", "action", "actor_name", "source", "address", "subject_name")
    list_filter = ("action", "source")
    search_fields = ("actor_name", "subject_name", "address")
    ordering = ("-at", "-id")

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False
