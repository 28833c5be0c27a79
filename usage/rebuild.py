"""Rollups made anew from events, day by day, while everything goes on.

Each day is one transaction that no drain's batch overlaps; months are sums of their days. A day of
which events may be gone (retention) is left as it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from core.files import exclusive
from usage import histograms
from usage.buckets import DAY_MS, HOURS_A_DAY, day_of, first_day, first_id, hour_of, month_of
from usage.drain import journal_folder
from usage.ledger import SUMS, add_sums, add_times, sums_by_bucket, times_by_bucket
from usage.models import Grain, ModelRollup, UsageEvent, UsageRollup, UsageSeries
from usage.retention import expired_before

_TABLES = [each._meta.db_table for each in (UsageRollup, ModelRollup)]  # noqa: SLF001


@contextmanager
def undisturbed() -> Iterator[None]:
    """A transaction that no drain writes beside, on this machine or another."""
    with exclusive(journal_folder() / ".drain.lock"), transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(f"LOCK TABLE {', '.join(_TABLES)} IN SHARE ROW EXCLUSIVE MODE")
        yield


def days_with_events(now: datetime) -> range:
    """The days (as buckets) of which every event is there."""
    first = UsageEvent.objects.order_by("id").values_list("id", flat=True).first()
    if first is None:
        return range(0)
    start = (first.int >> 80) // DAY_MS
    cut = expired_before()
    if cut is not None:
        start = max(start, day_of(hour_of(cut)) + 1)
    return range(start, day_of(hour_of(now)) + 1)


@dataclass(frozen=True, slots=True)
class _Event:
    """One event as the ledger's sums take it."""

    what: Any
    model: str
    at_ms: int
    sums: tuple[int, ...]
    status: int
    counted: bool
    duration_ms: int
    first_token_ms: int | None


def rebuild_day(day: int) -> int:
    """Make the hours and the day anew; how many events there were."""
    with undisturbed():
        events = list(_events_of(day))
        for table in _TABLES:
            _delete(table, Grain.HOUR, day * HOURS_A_DAY, (day + 1) * HOURS_A_DAY - 1)
            _delete(table, Grain.DAY, day, day)
        narrow = {Grain.HOUR, Grain.DAY}
        for table, what in zip(_TABLES, ("series_id", "model"), strict=True):
            named = ((e.model if what == "model" else e.what, e.at_ms, e.sums) for e in events)
            sums = sums_by_bucket(named)
            add_sums(table, what, {key: each for key, each in sums.items() if key[0] in narrow})
        times = times_by_bucket(
            (e.model, e.at_ms, e.status, e.counted, e.duration_ms, e.first_token_ms) for e in events
        )
        add_times({key: each for key, each in times.items() if key[0] in narrow})
    return len(events)


def _events_of(day: int) -> Iterator[_Event]:
    models = dict(UsageSeries.objects.values_list("id", "model"))
    low, high = first_id(day * DAY_MS), first_id((day + 1) * DAY_MS)
    for event in UsageEvent.objects.filter(id__gte=low, id__lt=high).iterator(chunk_size=5000):
        at_ms = event.id.int >> 80
        sums = (0, 1, 0, 0, 0, 0, 0, at_ms)
        if event.counted:
            tokens = (event.prompt_tokens, event.cached_tokens, event.completion_tokens)
            sums = (1, 0, *tokens, event.units, event.cost, at_ms)
        times = (event.status, event.counted, event.duration_ms, event.first_token_ms)
        yield _Event(event.series_id, models[event.series_id], at_ms, sums, *times)


def rebuild_month(month: int) -> None:
    """Make the month's rows anew from those of its days."""
    low, high = first_day(month), first_day(month + 1) - 1
    with undisturbed():
        for table, what in zip(_TABLES, ("series_id", "model"), strict=True):
            _delete(table, Grain.MONTH, month, month)
            summed = ", ".join(f"SUM({name})" for name in SUMS[:-1])
            with connection.cursor() as cursor:
                cursor.execute(
                    f"INSERT INTO {table} (grain, bucket, {what}, {', '.join(SUMS)}) "  # noqa: S608
                    f"SELECT {Grain.MONTH:d}, {month}, {what}, {summed}, MAX({SUMS[-1]}) FROM {table} "
                    f"WHERE grain = {Grain.DAY:d} AND bucket BETWEEN {low} AND {high} GROUP BY {what}"
                )
        _rebuild_times(month, low, high)


def _rebuild_times(month: int, low: int, high: int) -> None:
    days = ModelRollup.objects.filter(grain=Grain.DAY, bucket__gte=low, bucket__lte=high)
    found: dict[str, list[dict[str, int]]] = {}
    for row in days:
        totals = found.setdefault(row.model, [{}, {}, {}])
        for into, more in zip(totals, (row.durations, row.first_tokens, row.statuses), strict=True):
            histograms.add(into, more)
    for model, (durations, first_tokens, statuses) in found.items():
        ModelRollup.objects.filter(grain=Grain.MONTH, bucket=month, model=model).update(
            durations=durations, first_tokens=first_tokens, statuses=statuses
        )


def _delete(table: str, grain: Grain, first: int, last: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {table} WHERE grain = {grain:d} AND bucket BETWEEN {first} AND {last}"  # noqa: S608
        )


def months_of(days: range) -> list[int]:
    return sorted({month_of(day) for day in days})
