"""Models in Django's admin site: what an admin may change while the full pages are not there yet."""

from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse

from accounts.audit import Actor, Subject, actor_of, record
from accounts.runtime import generations
from core.errors import GatehouseError
from core.generations import ENGINES
from inference import configuring
from inference.models import Model


@admin.register(Model)
class ModelAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "backend", "is_default", "enabled", "idle_timeout_s", "installed_at")
    fields = (
        "name",
        "description",
        "source",
        "backend",
        "enabled",
        "load_at_start",
        "replicas",
        "pinned",
        "idle_timeout_s",
    )
    readonly_fields = ("name", "description", "source", "backend")

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Workers are told once more when the page's own transaction is over: they may have looked before."""
        response = super().changeform_view(request, *args, **kwargs)
        if request.method == "POST":
            generations().bump(ENGINES)
        return response

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """The page remembers what it showed: what differs from that is what the admin changed."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None:
            field.show_hidden_initial = True
        return field

    def save_model(self, request: HttpRequest, obj: Model, form: Any, _change: bool) -> None:  # noqa: FBT001
        """As over the API: recorded, into the file too, and an engine is drained before it stops.

        What the admin left as it was stays as it is, which may be another admin's doing meanwhile.
        """
        wished = {
            "enabled": obj.enabled,
            "replicas": obj.replicas,
            "pinned": obj.pinned,
            "idle_timeout_s": obj.idle_timeout_s or None,
        }
        changed = {
            "idle_timeout" if key == "idle_timeout_s" else key: value
            for key, value in wished.items()
            if key in form.changed_data
        }
        try:
            configuring.change(
                obj.name, lambda old: old.model_copy(update=changed), by=actor_of(request)
            )
        except GatehouseError as exc:
            self.message_user(request, exc.message, level=messages.ERROR)
            return
        if "load_at_start" in form.changed_data:
            self._set_load_at_start(obj, by=actor_of(request))

    @staticmethod
    def _set_load_at_start(obj: Model, *, by: Actor) -> None:
        """It is no part of the configuration: nothing but the row says it."""
        now = {"load_at_start": obj.load_at_start}
        before = {"load_at_start": not obj.load_at_start}
        with transaction.atomic():
            Model.objects.filter(pk=obj.pk).update(**now)
            record("model_changed", by, Subject("", obj.name), before=before, after=now)

    def has_add_permission(self, _request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False
