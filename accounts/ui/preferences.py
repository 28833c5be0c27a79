"""How somebody wants the pages: theme, language, single-letter keys.

An account keeps them; a browser without one (nobody signed in, the legacy key, no accounts at all)
keeps theme and language in cookies.
"""

from typing import cast

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import translation

from accounts.models import User
from core.http import GatedRequest
from core.principal import Preferences, Theme

THEME_COOKIE = "theme"
THEMES = ("system", "light", "dark")
COOKIE_AGE_S = 365 * 24 * 3600


def preferences_of(user: User) -> Preferences:
    return Preferences(
        theme=cast("Theme", user.theme),
        language=user.language if is_language(user.language) else "",
        shortcuts=user.shortcuts,
        avatar_url=user.avatar_url,
    )


def is_language(code: str) -> bool:
    return code in dict(settings.LANGUAGES)


def theme_for(request: HttpRequest) -> Theme:
    """What `<html data-theme>` says; `system` is said by leaving it out."""
    principal = getattr(request, "principal", None)
    if principal is not None and principal.has_account:
        return cast("Theme", principal.preferences.theme)
    kept = request.COOKIES.get(THEME_COOKIE, "")
    return cast("Theme", kept if kept in THEMES else "system")


def language_for(request: HttpRequest) -> str:
    """The account's own choice, else the browser's cookie, else its `Accept-Language`."""
    principal = cast("GatedRequest", request).principal
    if principal is not None and principal.preferences.language:
        return principal.preferences.language
    return translation.get_language_from_request(request)


def keep(request: HttpRequest, response: HttpResponse, changed: dict[str, str]) -> None:
    """Write down what a form changed: `theme`, `language`, `shortcuts`. Unknown values change nothing."""
    principal = cast("GatedRequest", request).principal
    fields: dict[str, str | bool] = {}
    if (theme := changed.get("theme", "")) in THEMES:
        fields["theme"] = theme
        _cookie(response, THEME_COOKIE, theme)
    language = changed.get("language")
    if language is not None and (language == "" or is_language(language)):
        fields["language"] = language
        _cookie(response, settings.LANGUAGE_COOKIE_NAME, language)
    if (shortcuts := changed.get("shortcuts", "")) in {"on", "off"}:
        fields["shortcuts"] = shortcuts == "on"
    if fields and principal is not None and principal.has_account:
        User.objects.filter(pk=principal.user_id).update(**fields)


def _cookie(response: HttpResponse, name: str, value: str) -> None:
    if not value:
        response.delete_cookie(name)
        return
    response.set_cookie(
        name,
        value,
        max_age=COOKIE_AGE_S,
        httponly=True,
        samesite="Lax",
        secure=settings.SESSION_COOKIE_SECURE,
    )
