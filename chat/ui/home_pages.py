"""The home page and the API page: what runs, a first question, keys, and requests to copy (R-24, R-29)."""

import os
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import psutil
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from accounts import api_keys
from accounts.api.keys import create_key
from accounts.audit import actor_of
from accounts.key_pages import expiries
from accounts.models import ApiKey
from accounts.pages import HOME, page
from accounts.runtime import env
from accounts.ui.pages import page_before
from accounts.wording import plain_words
from chat import conversations
from chat.models import Conversation
from chat.ui import endpoints, home_parts, picker
from core.errors import GatehouseError
from core.http import GatedRequest
from core.principal import Principal
from inference.setup_steps import setup_steps
from usage.quotas.bars import bars
from usage.quotas.service import statuses_of

MAX_KEYS_SHOWN, MAX_RECENT = 5, 5
FAST_MS, SLOW_MS = 2000, 20000
NO_MODEL = "your-model"


def _caller(request: HttpRequest) -> Principal:
    principal = cast("GatedRequest", request).principal
    assert principal is not None  # noqa: S101  # the gate saw to it
    return principal


def _address(request: HttpRequest) -> str:
    """This server as the caller reaches it (R-37): as configured, else as asked."""
    return env().base_url or f"{request.scheme}://{request.get_host()}"


def _keys(principal: Principal) -> list[ApiKey]:
    if not principal.has_account:
        return []
    return list(ApiKey.objects.filter(user_id=principal.user_id).order_by("-created_at"))


def _requests(request: HttpRequest, **extra: Any) -> dict[str, Any]:
    """What "Your first request" and the form for a key need; one query."""
    principal = _caller(request)
    talking = picker.choices(principal)
    return {
        "keys": _keys(principal),
        "max_keys_shown": MAX_KEYS_SHOWN,
        "may_make_keys": principal.has_account and principal.key_id is None,
        "expiries": expiries(),
        "talking": talking,
        "model": picker.chosen(talking) or NO_MODEL,
        "base_url": _address(request),
        **extra,
    }


@page
@require_GET
def home(request: HttpRequest) -> HttpResponse:
    return _home(request)


def _home(request: HttpRequest, status: int = 200, **extra: Any) -> HttpResponse:
    principal = _caller(request)
    shown = {
        **_setup(),
        **_models(principal),
        **_requests(request, **extra),
        "recent": _recent(principal),
        "quotas": _quotas(principal),
        "up_since": _up_since(),
        "notice": request.GET.get("notice", ""),
    }
    if principal.is_admin:
        shown["machine"] = home_parts.machine()
        shown["clear_text"] = home_parts.travels_in_clear_text()
    return render(request, "chat/home.html", shown, status=status)


def _setup() -> dict[str, Any]:
    steps = setup_steps()
    done = sum(step.state == "done" for step in steps)
    return {"steps": steps, "n_done": done, "setting_up": done < len(steps)}


def _models(principal: Principal) -> dict[str, Any]:
    found = home_parts.shown_models(principal)
    is_moving = any(each.state == "loading" for each in found)
    return {
        "models": found,
        "n_ready": sum(each.state == "ready" for each in found),
        "n_asleep": sum(each.state == "stopped" for each in found),
        "models_every_ms": FAST_MS if is_moving else SLOW_MS,
    }


def _recent(principal: Principal) -> list[Conversation]:
    if not principal.has_account:
        return []
    found = conversations.search(principal.user_id, words="", cursor="", limit=MAX_RECENT)
    return found.conversations


def _quotas(principal: Principal) -> list[Any]:
    """The caller's own, the fullest first; a rule on one key is said on the usage page."""
    rules = [each for each in statuses_of(principal.user_id) if not each["api_key_id"]]
    found = bars(rules, timezone.now(), currency=env().currency, key_names={})
    return sorted(found, key=lambda each: -(each.percent or 0))


def _up_since() -> datetime | None:
    """When the server that this process works for was started."""
    try:
        return datetime.fromtimestamp(psutil.Process(os.getppid()).create_time(), tz=UTC)
    except psutil.Error:
        return None


@page
@require_GET
def setup_panel(request: HttpRequest) -> HttpResponse:
    """The panel of what is under way, alone: the home page fetches it again while it lasts."""
    return render(request, "inference/partials/setup.html", _setup())


@page
@require_GET
def models_panel(request: HttpRequest) -> HttpResponse:
    """The models and their states, alone."""
    return render(request, "chat/partials/home_models.html", _models(_caller(request)))


@page
@require_GET
def api(request: HttpRequest) -> HttpResponse:
    return _api(request)


def _api(request: HttpRequest, status: int = 200, **extra: Any) -> HttpResponse:
    principal = _caller(request)
    shown = {
        "at": "api",
        "endpoints": endpoints.usable(principal),
        **_requests(request, **extra),
    }
    return render(request, "chat/api.html", shown, status=status)


@page
@require_POST
def make_key(request: HttpRequest) -> HttpResponse:
    """Create a key and show it, this once; the page is the answer, so nothing stores the secret."""
    given = {
        "key_name": request.POST.get("name", ""),
        "key_expires": request.POST.get("expires", ""),
    }
    answer = _api if request.POST.get("at") == "api" else _home
    data = {"name": given["key_name"], "expiresIn": given["key_expires"] or None}
    try:
        key, secret = create_key(_caller(request).user_id, data, by=actor_of(request))
    except GatehouseError as exc:
        return answer(request, status=422, key_error=plain_words(exc), **given)
    return answer(request, new_key=key, secret=secret)


@page
@require_POST
def revoke_key(request: HttpRequest, key_id: UUID) -> HttpResponse:
    owner = _caller(request).user_id
    if api_keys.revoke(key_id, owner_id=owner, by=actor_of(request)):
        messages.success(request, _("The key is revoked. It stopped working at once."))
    before = page_before(request)
    return HttpResponseRedirect(before if before.partition("?")[0] in {HOME, "/app/api"} else HOME)
