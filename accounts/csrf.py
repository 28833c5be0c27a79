"""The slow door's side of `core.cross_site`; pages and the admin site carry Django's token besides."""

from urllib.parse import urlsplit

from accounts.runtime import env
from accounts.runtime_settings.in_force import checks_origin
from core.cross_site import refuse_foreign

_SAFE = {"GET", "HEAD", "OPTIONS"}
_MAKES_A_COOKIE = {
    "auth-register",
    "auth-login",
    "auth-token-login",
    "auth-mfa",
    "auth-passkey",
    "auth-passkey-start",
    "login-code",
    "login",
    "sign-in-again",
    "register",
    "invite",
}


def own_netlocs() -> frozenset[bytes]:
    return frozenset({urlsplit(env().public_url).netloc.lower().encode()})


def refuse_foreign_origin(headers: dict[bytes, bytes], method: str, url_name: str) -> None:
    """Raise ForbiddenError for what another site made a browser send."""
    if method not in _SAFE and checks_origin():
        refuse_foreign(headers, own_netlocs(), even_without_cookie=url_name in _MAKES_A_COOKIE)
