"""The home page: what is under way, the caller's keys, a first request to copy."""

from typing import Any, cast
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from accounts import api_keys
from accounts.api.keys import create_key
from accounts.audit import actor_of
from accounts.models import ApiKey
from accounts.pages import HOME, page
from accounts.runtime import env
from accounts.wording import plain_words
from core.errors import GatehouseError
from core.http import GatedRequest
from inference.models import Model
from inference.setup_steps import setup_steps

EXPIRIES = (("", "Never"), ("30d", "In 30 days"), ("90d", "In 90 days"), ("1y", "In a year"))


def _context(request: HttpRequest, **extra: Any) -> dict[str, Any]:
    principal = cast("GatedRequest", request).principal
    assert principal is not None  # noqa: S101  # the gate saw to it
    keys = ApiKey.objects.none()
    if principal.has_account:
        keys = ApiKey.objects.filter(user_id=principal.user_id).order_by("-created_at")
    steps = setup_steps()
    model = Model.objects.filter(is_default=True).first()
    remote = [name for name, _ in env().engine_items if name]
    configured = [*env().local_models, *remote]
    return {
        "principal": principal,
        "keys": keys,
        "may_make_keys": principal.has_account and principal.key_id is None,
        "expiries": EXPIRIES,
        "steps": steps,
        "setting_up": any(step.state != "done" for step in steps),
        "models": Model.objects.filter(enabled=True).prefetch_related("engines").order_by("name"),
        "model": model.name if model else next(iter(configured), "your-model"),
        "base_url": env().public_url,
        "notice": request.GET.get("notice", ""),
        **extra,
    }


@page
@require_GET
def home(request: HttpRequest) -> HttpResponse:
    return render(request, "inference/home.html", _context(request))


@page
@require_GET
def setup_panel(request: HttpRequest) -> HttpResponse:
    """The panel of what is under way, alone: the home page fetches it again while it lasts."""
    steps = setup_steps()
    setting_up = any(step.state != "done" for step in steps)
    shown = {"steps": steps, "setting_up": setting_up}
    return render(request, "inference/partials/setup.html", shown)


@page
@require_POST
def make_key(request: HttpRequest) -> HttpResponse:
    """Create a key and show it, this once; the page is the answer, so nothing stores the secret."""
    principal = cast("GatedRequest", request).principal
    assert principal is not None  # noqa: S101
    data = {"name": request.POST.get("name", ""), "expiresIn": request.POST.get("expires") or None}
    try:
        key, secret = create_key(principal.user_id, data, by=actor_of(request))
    except GatehouseError as exc:
        shown = _context(request, key_error=plain_words(exc), key_name=data["name"])
        return render(request, "inference/home.html", shown, status=422)
    return render(request, "inference/home.html", _context(request, new_key=key, secret=secret))


@page
@require_POST
def revoke_key(request: HttpRequest, key_id: UUID) -> HttpResponse:
    principal = cast("GatedRequest", request).principal
    assert principal is not None  # noqa: S101
    if api_keys.revoke(key_id, owner_id=principal.user_id, by=actor_of(request)):
        messages.success(request, "The key is revoked.")
    return HttpResponseRedirect(HOME)
