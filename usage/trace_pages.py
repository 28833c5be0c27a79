"""Traces for admins, as pages: the last requests and engine calls, one in full (R-11, R-12, R-24, R-30).

The lists and their filters are those of `GET /api/traces` and `/api/backend-traces`.
"""

from dataclasses import replace
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from accounts.audit import actor_of
from accounts.pages import page
from accounts.wording import plain_words
from core.errors import InvalidRequestError
from core.whole_numbers import whole_number
from usage import trace_shown as shown
from usage.api.trace_queries import page_in
from usage.reports.freshness import bring_in
from usage.traces import clearing, listing
from usage.traces.listing import Found, Page
from usage.traces.settings import is_on, keeps_bodies
from usage.traces.terms import HARD_ITEMS

PER_PAGE, HOURS = 50, 24
MAX_PAGE = 1 + HARD_ITEMS // PER_PAGE
FILTERS = ("user", "model", "path", "status", "correlation_id", "type")
CLASSES = {"2xx": 2, "4xx": 4, "5xx": 5}
Shape = dict[str, Any]


@page
@require_GET
def requests(request: HttpRequest, trace_id: UUID | None = None) -> HttpResponse:
    """The last requests; with an id, one of them in full beside the list."""
    bring_in()
    context = _listed(request, listing.requests)
    summary = listing.summary(HOURS, timezone.now())
    context["items"] = shown.requests(context.pop("found").items)
    context |= {
        "tab": "requests",
        "summary": summary,
        "worst": shown.took(summary["p95_ms"]),
        "failed_percent": 100 * summary["errors"] / summary["total"] if summary["total"] else 0,
        "keeps_bodies": keeps_bodies(),
        "one": None,
    }
    if trace_id is not None:
        found = listing.request(trace_id)
        context |= {"one": shown.one_request(found) if found else None, "is_gone": found is None}
    return render(request, "usage/traces.html", context, status=_status(context))


@page
@require_GET
def engine_calls(request: HttpRequest, trace_id: UUID | None = None) -> HttpResponse:
    """The last calls of engines and loads of models; with an id, one of them beside the list."""
    bring_in()
    context = _listed(request, listing.engine_calls)
    context["items"] = shown.engine_calls(context.pop("found").items)
    context |= {"tab": "engines", "kinds": listing.kinds(), "one": None}
    if trace_id is not None:
        found = listing.engine_call(trace_id)
        context |= {"one": shown.engine_calls([found])[0] if found else None}
        context["is_gone"] = found is None
    return render(request, "usage/engine_calls.html", context, status=_status(context))


@page
@require_POST
def clear_requests(request: HttpRequest) -> HttpResponse:
    clearing.clear("traces", actor_of(request))
    messages.success(request, _("The traces of requests are cleared."))
    return HttpResponseRedirect("/app/traces")


@page
@require_POST
def clear_engine_calls(request: HttpRequest) -> HttpResponse:
    clearing.clear("backend traces", actor_of(request))
    messages.success(request, _("The traces of engine calls are cleared."))
    return HttpResponseRedirect("/app/traces/engines")


def _listed(request: HttpRequest, find: Any) -> Shape:
    """Filters, what they leave of this page, and the pager; a filter that means nothing is said."""
    given = {name: request.GET.get(name, "").strip() for name in FILTERS}
    error, found, exact = None, Found([], 0), given["status"]
    number = _page_number(request.GET.get("page", ""))
    try:
        found = find(_asked(given, number))
    except InvalidRequestError as exc:
        error = plain_words(exc)
    pager = Paginator(range(found.total), PER_PAGE).get_page(number)
    if not found.items and found.total:  # a page that is no more: the last one
        found = find(_asked(given, pager.number))
    return {
        "given": given,
        "statuses": list(dict.fromkeys([*CLASSES, *([exact] if exact.isdigit() else [])])),
        "is_filtered": any(given.values()),
        "filter_error": error,
        "found": found,
        "pager": pager,
        "is_traced": is_on(),
    }


def _asked(given: dict[str, str], number: int) -> Page:
    """Raises InvalidRequestError that names the filter."""
    named = {name: value for name, value in given.items() if value}
    status = CLASSES.get(named.get("status", ""), 0)
    if status:
        named.pop("status")
    asked = page_in({**named, "limit": str(PER_PAGE), "offset": str((number - 1) * PER_PAGE)})
    return replace(asked, status=status) if status else asked


def _page_number(given: str) -> int:
    return min(MAX_PAGE, max(1, whole_number(given, 9) or 1))


def _status(context: Shape) -> int:
    if context["filter_error"]:
        return 400
    return 404 if context.get("is_gone") else 200
