"""How the signed-in person signs in: password, second factors, linked providers, sessions."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from accounts import password_form, sessions
from accounts.account_pages import tabs
from accounts.audit import actor_of, record
from accounts.devices import device_of
from accounts.factors import authenticators, challenge
from accounts.models import Session, User
from accounts.pages import PROVIDER_NAMES, current_user, page
from accounts.people import subject
from accounts.social import availability, links
from accounts.wording import in_words, plain_words, social_words
from core.errors import GatehouseError

PAGE = "/app/account/security"
MAX_SESSIONS = 200
_SMALL = ("iPhone", "iPad", "Android")


@page
@require_http_methods(["GET", "POST"])
def security(request: HttpRequest) -> HttpResponse:
    """The page; a POST changes the password."""
    user = current_user(request)
    if request.method == "GET":
        return _shown(request, user)
    refusal = password_form.take(request, user)
    if refusal is not None:
        return _shown(request, user, status=422, **refusal)
    messages.success(request, _("Your password is changed. Other devices are signed out."))
    return HttpResponseRedirect(PAGE)


def _shown(request: HttpRequest, user: User, *, status: int = 200, **extra: Any) -> HttpResponse:
    principal = request.principal  # type: ignore[attr-defined]  # the gate put it there
    rows = Session.objects.filter(user=user).order_by("-created_at")[:MAX_SESSIONS]
    mine = links.linked(user)
    ways = [
        {"name": name, "label": PROVIDER_NAMES[name], "linked": name in mine}
        for name in PROVIDER_NAMES
        if name in mine or name in availability.configured()
    ]
    offered = availability.offered() if ways else []
    shown = {
        "tabs": tabs("account-security"),
        "person": user,
        "error": social_words(request.GET.get("error", "")),
        "ways": [{**each, "offered": each["name"] in offered} for each in ways],
        "factors": authenticators.show(user),
        "sessions": [_listed(row, principal.session_key) for row in rows],
        **extra,
    }
    return render(request, "accounts/security.html", shown, status=status)


def _listed(row: Session, current: str | None) -> dict[str, Any]:
    device = device_of(row.user_agent)
    return {
        "id": row.public_id,
        "device": device,
        "icon": "smartphone" if device.endswith(_SMALL) else "monitor",
        "address": row.address,
        "last_used": row.last_used_at,
        "expires": row.expire_date,
        "is_current": row.session_key == current,
    }


@page
@require_POST
def end_session(request: HttpRequest, session_id: UUID) -> HttpResponse:
    """End one of one's own sessions (S-25)."""
    user = current_user(request)
    if sessions.end_one(session_id, owner_id=str(user.pk), by=actor_of(request)):
        messages.success(request, _("The session is ended."))
    return HttpResponseRedirect(PAGE)


@page
@require_POST
@transaction.atomic
def end_others(request: HttpRequest) -> HttpResponse:
    """End all sessions but this one, which gets a new key (E-10)."""
    user = current_user(request)
    record("sessions_ended", actor_of(request), subject(user))
    sessions.end_others(request, user)
    messages.success(request, _("All other sessions are ended."))
    return HttpResponseRedirect(PAGE)


def _confirmed(request: HttpRequest, user: User) -> GatehouseError | None:
    """Count a try and use up the current code of the form, before a factor is touched."""
    try:
        challenge.take_try(request, user)
        authenticators.check_code(user, request.POST.get("code", "").strip())
    except GatehouseError as exc:
        return exc
    return None


@page
@require_POST
def remove_codes(request: HttpRequest) -> HttpResponse:
    """Switch one-time codes off, with a current code."""
    user = current_user(request)
    fault = _confirmed(request, user)
    if fault is None:
        try:
            authenticators.remove(user, "totp", by=actor_of(request))
        except GatehouseError as exc:
            fault = exc
    if fault is not None:
        return _shown(request, user, status=422, factor_error=plain_words(fault))
    messages.success(request, _("One-time codes are off."))
    return HttpResponseRedirect(PAGE)


@page
@require_POST
def new_recovery_codes(request: HttpRequest) -> HttpResponse:
    """A fresh set, with a current code; the answer shows them, this once."""
    user = current_user(request)
    fault = _confirmed(request, user)
    if fault is not None:
        return _shown(request, user, status=422, factor_error=plain_words(fault))
    codes = authenticators.new_recovery_codes(user, by=actor_of(request))
    return render(
        request,
        "accounts/recovery_codes.html",
        {"codes": codes, "back": reverse("account-security")},
    )


@page
@require_POST
def remove_passkey(request: HttpRequest, passkey_id: int) -> HttpResponse:
    try:
        by = actor_of(request)
        authenticators.remove(current_user(request), "passkey", by=by, passkey_id=passkey_id)
    except GatehouseError as exc:
        messages.error(request, in_words(exc))
    else:
        messages.success(request, _("The passkey is removed."))
    return HttpResponseRedirect(PAGE)
