"""Reports: E-14, E-15, E-28, E-29, E-38, E-39, and latency beside them."""

from typing import Any

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.audit import page_number
from accounts.api.base import AccountView
from accounts.runtime import env
from core.declared import declares
from core.errors import InvalidRequestError, UnavailableError
from usage.api import shapes
from usage.reports.freshness import bring_in
from usage.reports.latency import latency_report, own_latency_report
from usage.reports.sources import sources_report
from usage.reports.sums import MAX_ROWS, Filters, Question
from usage.reports.usage import usage_report
from usage.reports.windows import Window, rolling_window, window_between


def window_in(request: Request) -> Window:
    """`period`, or `from`, `to` and `bucket`. Raises InvalidRequestError."""
    given, now = request.query_params, timezone.now()
    start, end, bucket = (given.get(name, "") for name in ("from", "to", "bucket"))
    if not start and not end:
        return rolling_window(given.get("period", ""), now, bucket)
    if given.get("period"):
        raise InvalidRequestError("give a period, or from and to", param="period")
    return window_between(start, end, bucket, now)


def filters_in(request: Request, user_id: str | None) -> Filters:
    given = request.query_params
    return Filters(
        user_id=user_id,
        api_key_id=given.get("api_key_id") or None,
        source=given.get("source") or None,
        model=given.get("model") or None,
    )


def question_in(request: Request, user_id: str | None, default: list[str]) -> Question:
    """The report that a query asks for: window, `group_by`, filters, `order` and `limit`."""
    given = request.query_params
    groups = [each.strip() for each in given.get("group_by", "").split(",") if each.strip()]
    limit = given.get("limit")
    return Question(
        window_in(request),
        list(dict.fromkeys(groups)) or default,
        filters_in(request, user_id),
        order=given.get("order") or None,
        limit=page_number(limit, "limit", MAX_ROWS, 1, MAX_ROWS) if limit else None,
    )


def _refuse_without_books() -> None:
    if env().disable_stats:
        raise UnavailableError("usage tracking is disabled (--disable-stats)")


class UsageView(AccountView):
    """E-14: the caller's own, whatever `user_id` the query names."""

    @declares("One's own usage", query=shapes.OwnReport, answer=shapes.UsageReport)
    def get(self, request: Request) -> Response:
        question = question_in(request, self.principal(request).user_id, ["model"])
        return Response(usage_report(question, as_of=bring_in()))


class AdminUsageView(AccountView):
    """E-28: everybody's, or one person's by `user_id`."""

    @declares("Everybody's usage", query=shapes.AnyReport, answer=shapes.UsageReport)
    def get(self, request: Request) -> Response:
        wanted = request.query_params.get("user_id") or None
        question = question_in(request, wanted, ["model", "user"])
        return Response(usage_report(question, as_of=bring_in()))


class SourcesView(AccountView):
    """E-15."""

    @declares("One's own usage by source", query=shapes.OwnSources, answer=shapes.SourcesReport)
    def get(self, request: Request) -> Response:
        filters = filters_in(request, self.principal(request).user_id)
        window = window_in(request)
        return Response(sources_report(window, filters, as_of=bring_in(), everybody=False))


class AdminSourcesView(AccountView):
    """E-29."""

    @declares("Everybody's usage by source", query=shapes.AnySources, answer=shapes.SourcesReport)
    def get(self, request: Request) -> Response:
        filters = filters_in(request, request.query_params.get("user_id") or None)
        window = window_in(request)
        return Response(sources_report(window, filters, as_of=bring_in(), everybody=True))


class LatencyView(AccountView):
    """Percentiles and errors of the caller's own requests, by model."""

    @declares("How long one's requests took", query=shapes.OwnLatency, answer=shapes.LatencyReport)
    def get(self, request: Request) -> Response:
        window = window_in(request)
        key_id = request.query_params.get("api_key_id") or None
        user_id = self.principal(request).user_id
        return Response(own_latency_report(window, user_id, key_id, as_of=bring_in()))


class AdminLatencyView(AccountView):
    """The same of everybody's, by bucket and model."""

    @declares(
        "How long everybody's requests took", query=shapes.AnyLatency, answer=shapes.LatencyReport
    )
    def get(self, request: Request) -> Response:
        window = window_in(request)
        model = request.query_params.get("model") or None
        return Response(latency_report(window, model, as_of=bring_in()))


class LocalUsageView(AccountView):
    """E-38: as E-14, also where there are no accounts."""

    flat_refusals = True

    @declares("Usage, in every mode", query=shapes.OwnReport, answer=shapes.LocalUsageReport)
    def get(self, request: Request) -> Response:
        _refuse_without_books()
        question = question_in(request, self.principal(request).user_id, ["model"])
        return Response(
            {**usage_report(question, as_of=bring_in()), "viewer": _viewer(self, request)}
        )


class LocalUsageAllView(AccountView):
    """E-39: as E-28, also where there are no accounts."""

    flat_refusals = True

    @declares("All usage, in every mode", query=shapes.AnyReport, answer=shapes.LocalUsageReport)
    def get(self, request: Request) -> Response:
        _refuse_without_books()
        wanted = request.query_params.get("user_id") or None
        question = question_in(request, wanted, ["model", "user"])
        return Response(
            {**usage_report(question, as_of=bring_in()), "viewer": _viewer(self, request)}
        )


def _viewer(view: AccountView, request: Request) -> dict[str, Any]:
    principal = view.principal(request)
    provider = view.user(request).provider if principal.has_account else ""
    return {
        "id": principal.user_id,
        "name": principal.name,
        "role": principal.role,
        "provider": provider,
    }
