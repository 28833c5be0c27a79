"""The admin's page on the machine: engines, processors, memory, disks, budgets, books (R-24, R-29).

It shows what `GET /api/engines`, `/api/resources` and `/api/accounting` give, from the same services.
Its upper part is fetched again while the tab is seen.
"""

import socket
from datetime import datetime
from typing import Any, Literal

from django.contrib import messages
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from accounts.audit import Subject, actor_of, record
from accounts.pages import page
from core.errors import GatehouseError
from core.memory_budget import budget_bytes
from inference import engine_requests
from inference.engine_limits import limits_in_force
from inference.engine_listing import engines_now, resources_now
from inference.engine_words import told
from inference.gallery_pages.words import refusal
from inference.models import EngineState
from inference.said import said
from usage.books_panel import books_panel

PAGE = "/app/system"
EVERY_MS = 2000
REMOTE_LIMIT_S = 0.5  # a page does not wait for an engine elsewhere as the endpoint does
LOAD_WAIT_S = 1.0  # then the page shows how it goes on
LOADED = {EngineState.STARTING, EngineState.READY, EngineState.DRAINING, EngineState.WAITING}
Shape = dict[str, Any]
Action = Literal["model_loaded", "model_unloaded"]


@page
@require_GET
def system(request: HttpRequest) -> HttpResponse:
    """Everything; the part that is live is in the page from the start."""
    shown = {
        **_live(),
        "books": books_panel(),
        "host": socket.gethostname(),
        "database": "PostgreSQL" if connection.vendor == "postgresql" else "SQLite",
    }
    return render(request, "inference/system.html", shown)


@page
@require_GET
def live(request: HttpRequest) -> HttpResponse:
    """The live part alone, for the page's poll."""
    shown = {**_live(), "is_fragment": True}
    return render(request, "inference/partials/system_live.html", shown)


@page
@require_POST
def load(request: HttpRequest) -> HttpResponse:
    """Ask for a model to be loaded; the page shows how it goes."""
    return _ask(request, "model_loaded", _("%(model)s is loading."), engine_requests.load)


@page
@require_POST
def unload(request: HttpRequest) -> HttpResponse:
    """Ask for a model to leave, once its callers are served."""
    words = _("%(model)s stops as soon as its callers are served.")
    return _ask(request, "model_unloaded", words, engine_requests.unload)


def _ask(request: HttpRequest, action: Action, words: str, ask: Any) -> HttpResponse:
    """One of the two requests, recorded as the endpoint does; what is refused is said on the page."""
    name = request.POST.get("model", "")[:255].replace("\0", "")
    try:
        ask(name, wait_s=LOAD_WAIT_S)
        record(action, actor_of(request), Subject("", name))
        messages.success(request, words % {"model": name})
    except GatehouseError as exc:
        messages.error(request, " ".join(filter(None, refusal(exc))))
    return HttpResponseRedirect(PAGE)


def _live() -> Shape:
    machine = resources_now()
    engines = [_shown(each) for each in engines_now(REMOTE_LIMIT_S)]
    loaded = [each for each in engines if each["is_loaded"]]
    return {
        "machine": machine,
        "engines": engines,
        "n_loaded": len(loaded),
        "loadable": [each["model"] for each in engines if each["may_load"]],
        "pools": _pools(machine, loaded),
        "max_models": limits_in_force().max_models,
        "now": timezone.now(),
        "every_ms": EVERY_MS,
    }


def _shown(row: Shape) -> Shape:
    """A row of the list with what only the page says: words, tone and icon of its state."""
    is_remote = row["backend"] == "remote"
    is_loaded = row["state"] in LOADED and not is_remote
    label, tone, icon = told(row["state"], is_busy=bool(row["running"]))
    next_try = parse_datetime(row["next_try_at"]) if row["next_try_at"] else None
    memory = row["memory"]["total"] + row["memory"]["gpu"]
    return {
        **row,
        "message": said(row["message"]),
        "label": label,
        "tone": tone,
        "icon": icon,
        "is_remote": is_remote,
        "is_loaded": is_loaded,
        "may_load": not is_remote and not is_loaded,
        "kv_percent": None if row["kv_cache_usage"] is None else 100 * row["kv_cache_usage"],
        "memory_bytes": memory,
        "next_try_s": _until(next_try),
        "n_ready": sum(each["state"] == EngineState.READY for each in row["replicas"]),
    }


def _until(moment: datetime | None) -> float | None:
    return None if moment is None else max(0.0, (moment - timezone.now()).total_seconds())


def _pools(machine: Shape, loaded: list[Shape]) -> list[Shape]:
    """The RAM and each card: what there is, what is budgeted, what each engine has of it (R-31)."""
    limits, cards = limits_in_force(), machine.get("gpus", [])
    pools = [_pool(_("Memory"), machine["ram"]["total"], limits.ram_budget, loaded, "total")]
    total = sum(card["total_vram"] for card in cards)
    if cards:
        one = budget_bytes(limits.vram_budget, cards[0]["total_vram"])
        pool = _pool(_("Graphics memory"), total, "", loaded, "gpu")
        pool |= {"budget": one, "per_card": len(cards) > 1}
        pool["limit"] = one if one and len(cards) == 1 else total
        pools.insert(0, pool)
    return pools


def _pool(name: str, total: int, budget: str, loaded: list[Shape], kind: str) -> Shape:
    limit = budget_bytes(budget, total)
    parts = [(each["model"], each["memory"][kind]) for each in loaded if each["memory"][kind]]
    parts.sort(key=lambda part: -part[1])
    within = limit or total
    return {
        "name": name,
        "total": total,
        "budget": limit,
        "limit": within,
        "used": sum(size for _name, size in parts),
        "parts": [
            {"model": model, "bytes": size, "percent": 100 * size / within if within else 0}
            for model, size in parts
        ],
    }
