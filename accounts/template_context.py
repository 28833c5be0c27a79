"""What every template may name."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from accounts.runtime import env


def server(request: HttpRequest) -> dict[str, Any]:
    return {
        "server_host": env().public_url.partition("://")[2],
        "server_version": settings.VERSION,
        "principal": getattr(request, "principal", None),
        "auth_enabled": env().auth,
    }
