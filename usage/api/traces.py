"""Traces for admins: `/api/traces` and `/api/backend-traces` (surface, section 2; R-11, R-12, R-30).

Lists are JSON arrays, the newest last. The journal is brought in first, so that a request is listed as
soon as it is in the usage report.
"""

from typing import ClassVar
from uuid import UUID

from django.http import HttpResponse
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.audit import page_number
from accounts.api.base import AccountView
from accounts.audit import actor_of
from core.declared import declares
from core.errors import NotFoundError
from usage.api import trace_shapes
from usage.api.trace_queries import page_in
from usage.api.trace_shapes import SummaryQuery, TraceSummary
from usage.reports.freshness import bring_in
from usage.traces import clearing, listing
from usage.traces.listing import Found, Page, Shape

MAX_HOURS = 720


class _ListView(AccountView):
    """A list of one kind of traces."""

    def found(self, page: Page) -> Found:
        raise NotImplementedError

    def get(self, request: Request) -> Response:
        page = page_in(request.query_params)
        bring_in()
        found = self.found(page)
        headers = {
            "X-Total-Count": str(found.total),
            "X-Trace-Offset": str(page.offset),
            "X-Trace-Limit": str(page.limit),
        }
        return Response(found.items, headers=headers)


class _OneView(AccountView):
    """One trace in full, by an id of the list."""

    def found(self, trace_id: UUID) -> Shape | None:
        raise NotImplementedError

    def get(self, _request: Request, trace_id: str) -> Response:
        try:
            wanted = UUID(trace_id)
        except ValueError as exc:
            raise NotFoundError("trace not found") from exc
        bring_in()
        found = self.found(wanted)
        if found is None:
            raise NotFoundError("trace not found")
        return Response(found)


class _ClearView(AccountView):
    """Empties one list."""

    http_method_names = ["post"]
    kind: ClassVar[clearing.Kind]

    def post(self, request: Request) -> HttpResponse:
        clearing.clear(self.kind, actor_of(request._request))  # noqa: SLF001  # DRF's own name
        return HttpResponse(status=204)


class TracesView(_ListView):
    """`GET /api/traces`."""

    declared = trace_shapes.REQUESTS

    def found(self, page: Page) -> Found:
        return listing.requests(page)


class TraceView(_OneView):
    """`GET /api/traces/{id}`."""

    declared = trace_shapes.REQUEST

    def found(self, trace_id: UUID) -> Shape | None:
        return listing.request(trace_id)


class ClearTracesView(_ClearView):
    """`POST /api/traces/clear`."""

    declared = trace_shapes.CLEARED

    kind = "traces"


class TraceSummaryView(AccountView):
    """`GET /api/traces/summary?hours=24`."""

    @declares("How many requests, and how long", query=SummaryQuery, answer=TraceSummary)
    def get(self, request: Request) -> Response:
        hours = page_number(request.query_params.get("hours", ""), "hours", 24, 1, MAX_HOURS)
        bring_in()
        return Response(listing.summary(hours, timezone.now()))


class BackendTracesView(_ListView):
    """`GET /api/backend-traces`."""

    declared = trace_shapes.ENGINE_CALLS

    def found(self, page: Page) -> Found:
        return listing.engine_calls(page)


class BackendTraceView(_OneView):
    """`GET /api/backend-traces/{id}`."""

    declared = trace_shapes.ENGINE_CALL

    def found(self, trace_id: UUID) -> Shape | None:
        return listing.engine_call(trace_id)


class ClearBackendTracesView(_ClearView):
    """`POST /api/backend-traces/clear`."""

    declared = trace_shapes.CLEARED

    kind = "backend traces"
