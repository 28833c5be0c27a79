"""What a browser remembers of an account that waits: no session, no right, only what to show it.

The cookie is signed. An address that somebody else has leaves a browser with the same cookie and the
same page as a new one, so that neither tells which addresses have accounts (S-33).
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID, uuid4

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts.models import Status, User

COOKIE = "waiting"
AGE_S = 30 * 24 * 3600
State = Literal["waiting", "approved", "disabled"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Who waits in this browser, since when, and how that stands now."""

    email: str
    since: datetime
    state: State


def remember(response: HttpResponse, email: str, user: User | None) -> None:
    """`user` is None where the address was taken; the cookie then names nobody."""
    known = user is not None and user.email == email
    since = user.created_at if known and user is not None else timezone.now()
    named = user.pk if known and user is not None else uuid4()
    value = json.dumps([str(named), email, since.isoformat(timespec="seconds")])
    response.set_signed_cookie(
        COOKIE,
        value,
        salt=COOKIE,
        max_age=AGE_S,
        httponly=True,
        samesite="Lax",
        secure=settings.SESSION_COOKIE_SECURE,
    )


def forget(response: HttpResponse) -> None:
    response.delete_cookie(COOKIE)


def who_waits(request: HttpRequest) -> Waiting | None:
    """None for a browser in which nobody registered. One query, by the account's id."""
    try:
        value = request.get_signed_cookie(COOKIE, salt=COOKIE, max_age=AGE_S) or ""
        user_id, email, since = json.loads(value)
        found = User.objects.filter(pk=UUID(user_id)).values_list("status", flat=True).first()
    except (KeyError, signing.BadSignature, ValueError):
        return None
    states: dict[str, State] = {Status.ACTIVE: "approved", Status.DISABLED: "disabled"}
    return Waiting(email, datetime.fromisoformat(since), states.get(found or "", "waiting"))
