"""What every template may name: the server, and the frame around pages."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import translation
from django.utils.functional import SimpleLazyObject

from accounts.runtime import env
from accounts.ui.navigation import counts_for, sidebar
from accounts.ui.preferences import theme_for


def server(request: HttpRequest) -> dict[str, Any]:
    return {
        "server_host": env().public_url.partition("://")[2],
        "server_version": settings.VERSION,
        "principal": getattr(request, "principal", None),
        "auth_enabled": env().auth,
    }


def frame(request: HttpRequest) -> dict[str, Any]:
    """`frame`: language, direction, theme, sidebar, and the numbers beside its lines.

    What costs a query is asked when a template names it, so pages without a sidebar ask nothing.
    """
    principal = getattr(request, "principal", None)
    match = getattr(request, "resolver_match", None)
    current = match.view_name if match is not None else ""
    language = translation.get_language() or settings.LANGUAGE_CODE
    return {
        "frame": {
            "language": language,
            "direction": "rtl" if translation.get_language_bidi() else "ltr",
            "theme": theme_for(request),
            "groups": SimpleLazyObject(lambda: sidebar(principal, current)),
            "counts": SimpleLazyObject(lambda: counts_for(principal)),
            "may_sign_out": env().auth and principal is not None,
        }
    }
