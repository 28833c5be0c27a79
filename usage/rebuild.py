"""Rollups made anew from events, day by day, while everything goes on.

Each day is one transaction that no drain's batch overlaps; months are sums of their days. A day of
which events may be gone (retention) is left as it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet

from core.files import exclusive
from usage import histograms
from usage.buckets import (
    DAY_MS,
    HOUR_MS,
    HOURS_A_DAY,
    day_of,
    first_day,
    first_id,
    hour_of,
    month_of,
)
from usage.drain import journal_folder
from usage.ledger import SUMS, Timing, add_sums, add_times, sums_by_bucket, times_by_bucket
from usage.models import Grain, ModelRollup, UsageEvent, UsageRollup, UsageSeries
from usage.retention import expired_before

_TABLES = [each._meta.db_table for each in (UsageRollup, ModelRollup)]  # noqa: SLF001

_NARROW = {Grain.HOUR, Grain.DAY}


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


def rebuild_day(day: int) -> int | None:
    """Make the hours and the day anew; how many events there were, None where some may be gone by now."""
    with undisturbed():
        series, n_events = _sums_of(day)
        times = times_by_bucket(_timings_of(day))
        cut = expired_before()
        if cut is not None and day <= day_of(hour_of(cut)):
            return None
        for table in _TABLES:
            _delete(table, Grain.HOUR, day * HOURS_A_DAY, (day + 1) * HOURS_A_DAY - 1)
            _delete(table, Grain.DAY, day, day)
        models = dict(UsageSeries.objects.values_list("id", "model"))
        by_model = ((models[number], at_ms, sums) for number, at_ms, sums in _hours(series))
        for table, what, sums in (
            (_TABLES[0], "series_id", series),
            (_TABLES[1], "model", sums_by_bucket(by_model)),
        ):
            add_sums(table, what, {key: each for key, each in sums.items() if key[0] in _NARROW})
        add_times({key: each for key, each in times.items() if key[0] in _NARROW})
    return n_events


def _events_of(day: int) -> "QuerySet[UsageEvent]":
    low, high = first_id(day * DAY_MS), first_id((day + 1) * DAY_MS)
    return UsageEvent.objects.filter(id__gte=low, id__lt=high)


def _sums_of(day: int) -> tuple[dict[Any, list[int]], int]:
    """The day's sums by bucket and series, event by event, and how many events there were."""
    columns = ("prompt_tokens", "cached_tokens", "completion_tokens", "units", "cost")
    n_events = 0

    def each() -> Iterator[tuple[int, int, tuple[int, ...]]]:
        nonlocal n_events
        found = _events_of(day).values_list("id", "series_id", "counted", *columns)
        for pk, number, counted, *amounts in found.iterator(chunk_size=5000):
            n_events += 1
            at_ms = pk.int >> 80
            sums = (1, 0, *amounts, at_ms) if counted else (0, 1, 0, 0, 0, 0, 0, at_ms)
            yield number, at_ms, sums

    return sums_by_bucket(each()), n_events


def _hours(sums: dict[Any, list[int]]) -> Iterator[tuple[int, int, list[int]]]:
    """The hours among sums by bucket, as (series, milliseconds, sums)."""
    for (grain, bucket, number), each in sums.items():
        if grain == Grain.HOUR:
            yield number, bucket * HOUR_MS, each


def _timings_of(day: int) -> Iterator[Timing]:
    models = dict(UsageSeries.objects.values_list("id", "model"))
    columns = ("status", "counted", "duration_ms", "first_token_ms")
    found = _events_of(day).values_list("id", "series_id", *columns)
    for pk, number, *times in found.iterator(chunk_size=5000):
        yield models[number], pk.int >> 80, *times


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
