"""What the sidebar shows of operations, on every page of an admin."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from inference.operation_panel import panel_context


def operations(request: HttpRequest) -> dict[str, Any]:
    """`operations`: one query, made when the sidebar of an admin's page is rendered."""
    principal = getattr(request, "principal", None)
    if principal is None or not principal.is_admin:
        return {}
    return {"operations": SimpleLazyObject(panel_context)}
