"""The cookie `session`: Django's session key, signed with the product's own rotating keys.

A leaked session table is then no credential, and the same string is good as a Bearer token
(identity.md, sections 0 and 7).
"""

from django.conf import settings
from django.contrib.auth import login as django_login
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse

from accounts.changes import change_of_rights, credentials_added
from accounts.lookup import SESSION_API_KEY, SESSION_LEGACY
from accounts.models import ApiKey, User
from accounts.runtime import keyring

BACKEND = "django.contrib.auth.backends.ModelBackend"


class SignedSessionMiddleware(SessionMiddleware):
    """Signs what goes out and takes in only what was signed."""

    def process_request(self, request: HttpRequest) -> None:
        cookie = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
        key = keyring("session").unsign(cookie) if cookie.isascii() else None
        request.session = self.SessionStore(key)

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        response = super().process_response(request, response)
        morsel = response.cookies.get(settings.SESSION_COOKIE_NAME)
        if morsel is not None and morsel.value:  # an empty value deletes
            value = keyring("session").sign(morsel.value)
            morsel.set(settings.SESSION_COOKIE_NAME, value, value)
        return response


def begin(request: HttpRequest, user: User, *, api_key: ApiKey | None = None) -> None:
    """Sign `user` in on this browser, under a new session key (S-45).

    A session made from a key keeps that origin and ends with the key (S-28).
    """
    credentials_added()
    django_login(request, user, backend=BACKEND)
    request.session.cycle_key()
    if api_key is not None:
        request.session[SESSION_API_KEY] = str(api_key.pk)


def begin_legacy(request: HttpRequest, key: str) -> None:
    """A session of the legacy principal; the key itself never becomes a cookie (S-41)."""
    credentials_added()
    request.session.flush()
    request.session[SESSION_LEGACY] = keyring("session").digest(key).hex


def end(request: HttpRequest) -> None:
    """Sign out: the session's row goes, and every worker forgets it."""
    principal = getattr(request, "principal", None)
    if principal is None:
        request.session.flush()
        return
    with change_of_rights(principal.user_id):
        request.session.flush()
