"""Models in Django's admin site: what an admin may change while the full pages are not there yet."""

from typing import Any

from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest

from accounts.runtime import generations
from core.generations import ENGINES
from inference.configuration_files import keep
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
        "idle_timeout_s",
    )
    readonly_fields = ("name", "description", "source", "backend")

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:  # noqa: FBT001
        super().save_model(request, obj, form, change)
        transaction.on_commit(lambda: keep(obj.name))
        generations().bump(ENGINES)

    def has_add_permission(self, _request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False
