"""The cookie `session`: Django's session key, signed with the product's own rotating keys.

A leaked session table is then no credential, and the same string is good as a Bearer token
(identity.md, sections 0 and 7).
"""

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.contrib.auth import login as django_login
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts.audit import Actor, Subject, actor_of, record
from accounts.changes import change_of_rights, credentials_added, rights_changed
from accounts.limits import DEVICE_AGE_S, DEVICE_COOKIE, address_of
from accounts.lookup import SESSION_API_KEY, SESSION_LEGACY
from accounts.models import ApiKey, Session, User
from accounts.runtime import keyring

BACKEND = "django.contrib.auth.backends.ModelBackend"
MAX_USER_AGENT_CHARS = 200


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
        if (mark := getattr(request, "new_device", None)) is not None:
            response.set_cookie(
                DEVICE_COOKIE,
                mark,
                max_age=DEVICE_AGE_S,
                httponly=True,
                samesite="Lax",
                secure=settings.SESSION_COOKIE_SECURE,
            )
        return response


def begin(request: HttpRequest, user: User, *, method: str, api_key: ApiKey | None = None) -> None:
    """Sign `user` in on this browser by `method`, under a new session key (S-45).

    The session ends 30 days from now however it is used (contract 2.4). One made from a key keeps
    that origin and ends with the key (S-28).
    """
    credentials_added()
    django_login(request, user, backend=BACKEND)
    request.session.cycle_key()
    if api_key is not None:
        request.session[SESSION_API_KEY] = str(api_key.pk)
    place(request)
    actor = Actor(str(user.pk), user.email, "web", address_of(request))
    record("sign_in", actor, Subject(user.pk, user.email), after={"method": method})


def place(request: HttpRequest) -> None:
    """Fix the end of the session that has just begun, and note where it is."""
    age = timedelta(seconds=settings.SESSION_COOKIE_AGE + 1)  # what is left is rounded down
    request.session.set_expiry(timezone.now() + age)
    request.session.save()
    Session.objects.filter(pk=request.session.session_key).update(
        address=address_of(request),
        user_agent=request.headers.get("user-agent", "")[:MAX_USER_AGENT_CHARS],
    )


def begin_legacy(request: HttpRequest, key: str) -> None:
    """A session of the legacy principal; the key itself never becomes a cookie (S-41).

    `key` is what the key is known by (`AuthMode.legacy_key`).
    """
    credentials_added()
    request.session.flush()
    request.session[SESSION_LEGACY] = keyring("session").digest(key).hex


def end(request: HttpRequest) -> None:
    """Sign out: the session that the caller showed goes, and every worker forgets it."""
    principal = getattr(request, "principal", None)
    if principal is None:
        request.session.flush()
        return
    with change_of_rights(principal.user_id):
        if principal.session_key is not None:  # it may have come as a Bearer token
            Session.objects.filter(pk=principal.session_key).delete()
        record("sign_out", actor_of(request), Subject(principal.user_id, principal.email))
        request.session.flush()


def end_others(request: HttpRequest, user: User) -> None:
    """End every session of `user` and begin a new one on this browser (E-09, E-10)."""
    rights_changed(user.pk)
    Session.objects.filter(user=user).delete()
    request.session.flush()
    begin(request, user, method="renewed")


def end_one(public_id: UUID, *, owner_id: str, by: Actor) -> bool:
    """End one session of `owner_id`; False where there is none such."""
    with change_of_rights(owner_id):
        deleted, _ = Session.objects.filter(public_id=public_id, user_id=owner_id).delete()
        if deleted:
            record("session_ended", by, Subject(public_id, ""))
    return deleted > 0
