"""Models in Django's admin site: what an admin may change while the full pages are not there yet."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

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
        "idle_timeout_s",
    )
    readonly_fields = ("name", "description", "source", "backend")

    def has_add_permission(self, _request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False
