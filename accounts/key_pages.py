"""The signed-in person's API keys: made, shown once, revoked (E-11 to E-13)."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from accounts import api_keys, over
from accounts.account_pages import tabs
from accounts.api.keys import MAX_KEYS, create_key
from accounts.audit import actor_of
from accounts.models import ApiKey, User
from accounts.pages import current_user, page
from accounts.runtime import default_key_lifetime
from accounts.wording import in_words
from core.errors import GatehouseError, InvalidRequestError

EXPIRES_SOON = timedelta(days=7)
DATE = "date"


def expiries() -> list[tuple[str, str]]:
    """The choices that every form for a key has; the first leaves it to the server's default."""
    default = default_key_lifetime()
    first = _("Never")
    if default is not None:
        days = max(1, default.days)
        first = ngettext(
            "In %(n)d day (this server's default)", "In %(n)d days (this server's default)", days
        ) % {"n": days}
    return [
        ("", first),
        ("30d", _("In 30 days")),
        ("90d", _("In 90 days")),
        ("1y", _("In 1 year")),
    ]


def asked_for(post: Any) -> dict[str, Any]:
    """The form as the body of E-11. Raises InvalidRequestError for a date that is none.

    The chosen day is the key's last: it ends with that day, UTC.
    """
    asked: dict[str, Any] = {"name": post.get("name", "")}
    expires = post.get("expires", "")
    if expires != DATE:
        return {**asked, "expiresIn": expires or None}
    try:
        day = parse_date(post.get("expires_on", ""))
    except ValueError:
        day = None
    if day is None:
        raise InvalidRequestError("choose a date", param="expires_on")
    end = datetime.combine(day, time(23, 59, 59), tzinfo=UTC)
    return {**asked, "expiresAt": end.isoformat()}


@page
@require_http_methods(["GET", "POST"])
def keys(request: HttpRequest) -> HttpResponse:
    """The list. A POST makes a key; the page is the answer, so nothing stores the secret."""
    user = current_user(request)
    if request.method == "GET":
        return _shown(request, user, given={"expires": "90d"})
    given = {name: request.POST.get(name, "") for name in ("name", "expires", "expires_on")}
    try:
        key, secret = create_key(str(user.pk), asked_for(request.POST), by=actor_of(request))
    except GatehouseError as exc:
        field = {"expiresAt": "expires_on", "expiresIn": "expires"}.get(exc.param or "", exc.param)
        errors = {field or "form": in_words(exc)}
        return _shown(request, user, given=given, errors=errors, status=422)
    return _shown(request, user, given={"expires": "90d"}, made=key, secret=secret)


def _shown(request: HttpRequest, user: User, *, status: int = 200, **extra: Any) -> HttpResponse:
    rows = list(ApiKey.objects.filter(user=user).order_by("-created_at"))
    made, now = extra.get("made"), timezone.now()
    shown = {
        "tabs": tabs("account-keys"),
        "keys": [
            {
                "row": row,
                "is_new": made is not None and row.pk == made.pk,
                "is_over": not row.is_usable(now),
                "is_soon": row.expires_at is not None and row.expires_at - now < EXPIRES_SOON,
            }
            for row in rows
        ],
        "person": user,
        "most": MAX_KEYS,
        "expiries": [*expiries(), (DATE, _("On a date…"))],
        "tomorrow": (now + timedelta(days=1)).date().isoformat(),
        **extra,
    }
    return render(request, "accounts/keys.html", shown, status=status)


@page
@require_http_methods(["GET", "POST"])
def revoke(request: HttpRequest, key_id: UUID) -> HttpResponse:
    """Ask, then revoke. Another person's key is not there."""
    user = current_user(request)
    key = ApiKey.objects.filter(pk=key_id, user=user).first()
    if key is None:
        raise Http404
    if request.method == "GET":
        shown = {"key": key, "back_label": _("API keys")}
        return over.show(request, "accounts/key_revoke.html", shown, back=reverse("account-keys"))
    if api_keys.revoke(key_id, owner_id=user.pk, by=actor_of(request)):
        messages.success(request, _("The key is revoked."))
    return over.done(request, reverse("account-keys"))
