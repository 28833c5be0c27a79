"""The signed-in person's account page, and the admins' page of sign-in providers."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from accounts import sessions
from accounts.api.shapes import listed_session
from accounts.audit import actor_of
from accounts.factors.authenticators import methods_of
from accounts.models import IdentityProvider, Session
from accounts.pages import PROVIDER_NAMES, current_user, page
from accounts.social import availability, links
from accounts.social.views import begin
from accounts.wording import social_words
from core.errors import GatehouseError

MAX_SESSIONS = 200


@page
@require_GET
def account(request: HttpRequest) -> HttpResponse:
    """Password, linked providers, sessions."""
    user = current_user(request)
    principal = request.principal  # type: ignore[attr-defined]  # the gate put it there
    rows = Session.objects.filter(user=user).order_by("-created_at")[:MAX_SESSIONS]
    mine = links.linked(user)
    shown = {
        "principal": principal,
        "user": user,
        "error": social_words(request.GET.get("error", "")),
        "linked": [(name, PROVIDER_NAMES[name]) for name in mine if name in PROVIDER_NAMES],
        "linkable": [(n, PROVIDER_NAMES[n]) for n in availability.offered() if n not in mine],
        "factors": methods_of(user),
        "sessions": [
            {**listed_session(row, current=principal.session_key), "last_used": row.last_used_at}
            for row in rows
        ],
    }
    return render(request, "accounts/account.html", shown)


@page
@require_POST
def link(request: HttpRequest, provider: str) -> HttpResponse:
    return begin(request, provider, "link", user_id=str(current_user(request).pk))


@page
@require_POST
def unlink(request: HttpRequest, provider: str) -> HttpResponse:
    try:
        links.remove(current_user(request), provider, by=actor_of(request))
    except GatehouseError as exc:
        messages.error(request, exc.message[:1].upper() + exc.message[1:] + ".")
    else:
        messages.success(request, "The provider is unlinked.")
    return HttpResponseRedirect(links.PAGE)


@page
@require_POST
def end_session(request: HttpRequest, session_id: UUID) -> HttpResponse:
    user = current_user(request)
    if sessions.end_one(session_id, owner_id=str(user.pk), by=actor_of(request)):
        messages.success(request, "The session is ended.")
    return HttpResponseRedirect(links.PAGE)


@page
@require_GET
def providers(request: HttpRequest) -> HttpResponse:
    """Each configured provider, whether it works, and why not."""
    kept = {row.name: row for row in IdentityProvider.objects.all()}
    shown = [(name, PROVIDER_NAMES[name], kept.get(name)) for name in availability.configured()]
    principal = request.principal  # type: ignore[attr-defined]
    return render(request, "accounts/providers.html", {"principal": principal, "providers": shown})


@page
@require_POST
def test_provider(request: HttpRequest, provider: str) -> HttpResponse:
    return begin(request, provider, "trial")
