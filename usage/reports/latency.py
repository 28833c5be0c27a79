"""How long requests took and how many failed: percentiles by model, or of one person's own."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from itertools import groupby
from typing import Any

import orjson
from django.db import connection
from django.db.models import QuerySet

from accounts.api.shapes import timestamp
from core.errors import InvalidRequestError
from usage import histograms
from usage.buckets import HOUR_MS, first_id, label
from usage.models import UsageEvent, UsageSeries
from usage.models.rollups import ModelRollup
from usage.reports.windows import FIRST_HOUR, Window, spans

SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
MAX_OWN_HOURS = 24 * 31
_MODELS = ModelRollup._meta.db_table  # noqa: SLF001
_TIMES = ("durations", "first_tokens", "statuses")


def latency_report(window: Window, model: str | None, *, as_of: datetime) -> dict[str, Any]:
    """By bucket and model, everybody's: `duration_ms` and `first_token_ms` percentiles, and errors.

    Percentiles are at most 4.5 % off (`usage.histograms`); of failed requests none are taken.
    """
    found = _read(window, model)
    rows = [
        {
            **({} if window.grain is None else {"bucket": label(window.grain, bucket)}),
            "model": name,
            **_figures(each),
        }
        for (bucket, name), each in groupby(found, key=lambda row: (row[0], row[1]))
    ]
    return _body(rows, window, as_of)


def _body(rows: list[dict[str, Any]], window: Window, as_of: datetime) -> dict[str, Any]:
    ends = {"from": timestamp(window.start), "to": timestamp(window.end)}
    return {"latency": rows, **ends, "as_of": timestamp(as_of)}


def _read(window: Window, model: str | None) -> list[tuple[Any, ...]]:
    """(bucket shown, model, durations, first tokens, statuses) in order."""
    parts, values = [], []
    for span in spans(window):
        shown = "bucket" if span.shown is None else str(span.shown)
        sql = f"SELECT {shown} AS shown, model, {', '.join(_TIMES)} FROM {_MODELS} "  # noqa: S608
        sql += f"WHERE grain = {span.grain:d} AND bucket BETWEEN {span.first} AND {span.last}"
        if model is not None:
            sql += " AND model = %s"
            values.append(model)
        parts.append(sql)
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts), values)
        return sorted(cursor.fetchall(), key=lambda row: (row[0], row[1]))


def _figures(rows: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
    times: list[dict[str, int]] = [{}, {}, {}]
    for row in rows:
        for into, given in zip(times, row[2:], strict=True):
            histograms.add(into, orjson.loads(given) if isinstance(given, str) else given)
    durations, first_tokens, statuses = times
    return _shown(durations, first_tokens, statuses)


def _shown(
    durations: histograms.Histogram, first_tokens: histograms.Histogram, statuses: dict[str, int]
) -> dict[str, Any]:
    requests, all_of_them = sum(durations.values()), sum(statuses.values())
    failed = all_of_them - requests
    return {
        "request_count": requests,
        "error_count": failed,
        "error_rate": round(failed / all_of_them, 6) if all_of_them else 0,
        "statuses": dict(sorted(statuses.items())),
        "duration_ms": _percentiles(durations),
        "first_token_ms": _percentiles(first_tokens),
    }


def _percentiles(histogram: histograms.Histogram) -> dict[str, int | None]:
    found = histograms.percentiles(histogram, tuple(SHARES.values()))
    return dict(zip(SHARES, found, strict=True))


def own_latency_report(
    window: Window, user_id: str, key_id: str | None, *, as_of: datetime
) -> dict[str, Any]:
    """The same of one person (or one of their keys) by model, from single events: 31 days at most.

    Raises InvalidRequestError for a longer window.
    """
    if window.first == FIRST_HOUR or window.past - window.first > MAX_OWN_HOURS + 24:
        raise InvalidRequestError("single requests are looked at for 31 days at most", param="from")
    series = UsageSeries.objects.filter(user_id=user_id)
    if key_id is not None:
        series = series.filter(api_key_id=key_id)
    models = dict(series.values_list("id", "model"))
    times: dict[str, tuple[Counter[str], Counter[str], Counter[str]]] = {}
    for number, duration, first_token, status, counted in _events(window, series):
        durations, first_tokens, statuses = times.setdefault(
            models[number], (Counter(), Counter(), Counter())
        )
        statuses[str(status)] += 1
        if counted:
            durations[str(histograms.bin_of(duration))] += 1
            if first_token is not None:
                first_tokens[str(histograms.bin_of(first_token))] += 1
    rows = [{"model": model, **_shown(*each)} for model, each in sorted(times.items())]
    return _body(rows, window, as_of)


def _events(window: Window, series: QuerySet[UsageSeries]) -> Iterable[tuple[Any, ...]]:
    low, high = first_id(window.first * HOUR_MS), first_id(window.past * HOUR_MS)
    found = UsageEvent.objects.filter(id__gte=low, id__lt=high, series_id__in=series.values("id"))
    columns = ("series_id", "duration_ms", "first_token_ms", "status", "counted")
    return found.values_list(*columns).iterator(chunk_size=5000)
