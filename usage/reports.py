"""Usage by bucket and model (contract 5.4 to 5.6, S-49, S-50). UTC everywhere."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count, Min, Q, QuerySet, Sum
from django.db.models.functions import TruncDay, TruncHour, TruncMonth

from core.errors import InvalidRequestError
from usage.models import UsageEvent


@dataclass(frozen=True, slots=True)
class Period:
    """A rolling window (None: everything), the width of its buckets and how one is written."""

    window: timedelta | None
    trunc: type[TruncHour] | type[TruncDay] | type[TruncMonth]
    label: str


PERIODS = {
    "day": Period(timedelta(hours=24), TruncHour, "%Y-%m-%d %H:00"),
    "week": Period(timedelta(days=7), TruncDay, "%Y-%m-%d"),
    "month": Period(timedelta(days=30), TruncDay, "%Y-%m-%d"),
    "all": Period(None, TruncMonth, "%Y-%m"),
}
DEFAULT_PERIOD = "month"
_ZERO = {
    "prompt_tokens": 0,
    "completion_tokens": 0,
    "total_tokens": 0,
    "request_count": 0,
    "error_count": 0,
}


def period_named(name: str) -> Period:
    """The period; `month` where none is named. Raises InvalidRequestError (S-20)."""
    found = PERIODS.get(name or DEFAULT_PERIOD)
    if found is None:
        raise InvalidRequestError(f"period must be one of {', '.join(PERIODS)}", param="period")
    return found


def usage_report(name: str, *, now: datetime, user_id: str | None, by_user: bool) -> dict[str, Any]:
    """The body of E-14 (one `user_id`) or E-28 (`by_user`, `user_id` as a filter).

    The window starts at the hour in which the rolling one begins (S-50); the body says so.
    """
    period = period_named(name)
    events = UsageEvent.objects.filter(created_at__lte=now)
    start = None
    if period.window is not None:
        start = (now - period.window).replace(minute=0, second=0, microsecond=0)
        events = events.filter(created_at__gte=start)
    if user_id is not None:
        events = events.filter(user_id=user_id)
    if start is None:
        start = events.aggregate(first=Min("created_at"))["first"]
    rows = [_row(row, period) for row in _grouped(events, period, by_user=by_user)]
    totals = {key: sum(row[key] for row in rows) for key in _ZERO}
    return {"usage": rows, "totals": totals, "from": _written(start), "to": _written(now)}


def _grouped(events: QuerySet[UsageEvent], period: Period, *, by_user: bool) -> Any:
    names = ["at", "model", *(["user_id", "user_name"] if by_user else [])]
    counted = Q(counted=True)
    return (
        events.annotate(at=period.trunc("created_at", tzinfo=UTC))
        .values(*names)
        .annotate(
            prompt=Sum("prompt_tokens", default=0),
            completion=Sum("completion_tokens", default=0),
            requests=Count("id", filter=counted),
            errors=Count("id", filter=~counted),
        )
        .order_by(*names)
    )


def _row(row: dict[str, Any], period: Period) -> dict[str, Any]:
    person: dict[str, Any] = {key: row[key] for key in ("user_id", "user_name") if key in row}
    return {
        "bucket": row["at"].strftime(period.label),
        "model": row["model"],
        **person,
        "prompt_tokens": row["prompt"],
        "completion_tokens": row["completion"],
        "total_tokens": row["prompt"] + row["completion"],
        "request_count": row["requests"],
        "error_count": row["errors"],
    }


def _written(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None
