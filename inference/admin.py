"""Models in Django's admin site: what an admin may change while the full pages are not there yet."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest

from accounts.audit import actor_of
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

    def save_model(self, request: HttpRequest, obj: Model, _form: Any, _change: bool) -> None:  # noqa: FBT001
        """As over the API: recorded, into the file too, and an engine is drained before it stops."""
        changed = {
            "enabled": obj.enabled,
            "replicas": obj.replicas,
            "pinned": obj.pinned,
            "idle_timeout": obj.idle_timeout_s or None,
        }
        try:
            configuring.change(
                obj.name, lambda old: old.model_copy(update=changed), by=actor_of(request)
            )
        except GatehouseError as exc:
            self.message_user(request, exc.message, level=messages.ERROR)
            return
        Model.objects.filter(pk=obj.pk).update(load_at_start=obj.load_at_start)
        generations().bump(ENGINES)

    def has_add_permission(self, _request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False
