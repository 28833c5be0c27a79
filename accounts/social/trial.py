"""An admin's test of a provider: the whole sign-in, changing nothing, with all that was learnt."""

from typing import Any, cast

from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone

from accounts.audit import actor_of
from accounts.models import Status
from accounts.registration import Terms
from accounts.social.arrival import arrive
from accounts.social.identity import Identity, SignInRefusedError
from core.http import GatedRequest


def show(request: HttpRequest, identity: Identity, terms: Terms) -> HttpResponse:
    """What `identity` would come to: everything is done, looked at and taken back."""
    outcome: dict[str, Any] = {}
    with transaction.atomic():
        try:
            arrival = arrive(identity, terms, now=timezone.now(), by=actor_of(request))
        except SignInRefusedError as exc:
            outcome = {"code": exc.code, "detail": exc.detail}
        else:
            user = arrival.user
            outcome = {
                "created": arrival.created,
                "email": user.email,
                "role": user.role,
                "status": user.status,
                "code": "" if user.status == Status.ACTIVE else f"account_{user.status}",
            }
        transaction.set_rollback(True)
    shown = {"identity": identity, "claims": sorted(identity.claims.items()), "outcome": outcome}
    return _page(request, {**shown, "provider": identity.provider})


def show_refusal(request: HttpRequest, provider: str, error: SignInRefusedError) -> HttpResponse:
    """The exact reason why the provider's answer was not taken."""
    outcome = {"code": error.code, "detail": error.detail}
    return _page(request, {"provider": provider, "outcome": outcome})


def _page(request: HttpRequest, shown: dict[str, Any]) -> HttpResponse:
    """Only to an admin: claims are nobody else's to see."""
    principal = cast("GatedRequest", request).principal
    if principal is None or not principal.is_admin:
        return HttpResponseRedirect("/login?error=invalid_state")
    return render(request, "accounts/provider_test.html", {"principal": principal, **shown})
