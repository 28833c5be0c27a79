"""One batch of events into the database: the events, their sums by hour, day and month, all or none.

An event whose id is there already adds to nothing. Plain SQL where there are many rows: through the
ORM a row costs twenty times as much (decision 003).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from django.db import connection

from usage import histograms
from usage.buckets import HOUR_MS, day_of, month_of
from usage.models import Grain, UsageEvent
from usage.models.rollups import ModelRollup, UsageRollup
from usage.records import Combination, Row
from usage.series import Dictionary
from usage.tariff import Tariff, cost
from usage.traces import rows as traces

EVENT_COLUMNS = (
    *("id", "cost", "units", "series_id", "prompt_tokens", "cached_tokens", "completion_tokens"),
    *("duration_ms", "first_token_ms", "queue_ms", "status", "counted", "estimated", "streamed"),
    *("correlation_id", "unknown_model"),
)
SUMS = (
    *("requests", "errors", "prompt_tokens", "cached_tokens", "completion_tokens"),
    *("units", "cost", "last_ms"),
)
N_ADDED = len(SUMS) - 1  # all but the last are added; of `last_ms` the later one stays
_EVENTS, _ROLLUPS, _MODELS = (
    each._meta.db_table  # noqa: SLF001
    for each in (UsageEvent, UsageRollup, ModelRollup)
)
_STAGE = f"{_EVENTS}_stage"
RollupKey = tuple[int, int, int]  # grain, bucket, series
ModelKey = tuple[int, int, str]  # grain, bucket, model


def write(rows: Sequence[Row], dictionary: Dictionary, tariff: Tariff) -> list[tuple[Row, int]]:
    """Add `rows`; those that were not there yet, with what each cost. Use inside a transaction."""
    if not rows:
        return []
    unique = {row.id: row for row in rows}
    numbers = dictionary.numbers(list(unique.values()))
    costs = {each.id: _cost(each, tariff) for each in unique.values()}
    insert = _insert_postgresql if connection.vendor == "postgresql" else _insert_sqlite
    added = insert([_values(row, numbers, costs[row.id]) for row in unique.values()])
    fresh = [(unique[each], costs[each]) for each in added]
    named = ((numbers[row.names], row.at_ms, sums_of(row, cost)) for row, cost in fresh)
    by_series = sums_by_bucket(named)
    add_sums(_ROLLUPS, "series_id", by_series)
    _add_to_models(fresh, by_series, numbers)
    traces.insert([row for row, _ in fresh], numbers)
    return fresh


def _cost(row: Row, tariff: Tariff) -> int:
    if not row.counted:
        return 0
    return cost(
        tariff.rates(row.names.model, row.at_ms),
        prompt=row.prompt_tokens,
        cached=row.cached_tokens,
        completion=row.completion_tokens,
        units=row.units,
    )


def _values(row: Row, numbers: dict[Combination, int], cost: int) -> tuple[Any, ...]:
    return (
        *(row.id, cost, row.units, numbers[row.names], row.prompt_tokens, row.cached_tokens),
        *(row.completion_tokens, row.duration_ms, row.first_token_ms, row.queue_ms, row.status),
        *(row.counted, row.estimated, row.streamed, row.correlation_id, row.unknown_model),
    )


def _insert_postgresql(values: list[tuple[Any, ...]]) -> list[str]:
    """By COPY into a table of this connection's own, then over; the ids that were new."""
    columns = ", ".join(EVENT_COLUMNS)
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TEMP TABLE IF NOT EXISTS {_STAGE} (LIKE {_EVENTS}) ON COMMIT DELETE ROWS"
        )
        copying = cursor.copy(f"COPY {_STAGE} ({columns}) FROM STDIN")
        with (
            connection.wrap_database_errors,
            copying as copy,
        ):  # psycopg's own errors pass Django by
            for each in values:
                copy.write_row(each)
        cursor.execute(
            f"INSERT INTO {_EVENTS} ({columns}) SELECT {columns} FROM {_STAGE} "  # noqa: S608
            "ON CONFLICT (id) DO NOTHING RETURNING id::text"
        )
        added = [each for (each,) in cursor.fetchall()]
        cursor.execute(f"DELETE FROM {_STAGE}")  # noqa: S608  # more may come in this transaction
    return added


def _insert_sqlite(values: list[tuple[Any, ...]]) -> list[str]:
    """The ids that were new. Nobody else writes meanwhile: the transaction is immediate."""
    ids = {each[0].replace("-", ""): each for each in values}
    marks = ", ".join(["%s"] * len(EVENT_COLUMNS))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT id FROM {_EVENTS} WHERE id IN (SELECT value FROM json_each(%s))",  # noqa: S608
            [orjson.dumps(list(ids)).decode()],
        )
        for (there,) in cursor.fetchall():
            del ids[there]
        cursor.executemany(
            f"INSERT INTO {_EVENTS} ({', '.join(EVENT_COLUMNS)}) VALUES ({marks})",  # noqa: S608
            [(hexadecimal, *each[1:]) for hexadecimal, each in ids.items()],
        )
    return [each[0] for each in ids.values()]


def sums_of(row: Row, cost: int) -> tuple[int, ...]:
    """What one event adds, in the order of `SUMS`."""
    if not row.counted:
        return (0, 1, 0, 0, 0, 0, 0, row.at_ms)
    return (
        *(1, 0, row.prompt_tokens, row.cached_tokens, row.completion_tokens),
        *(row.units, cost, row.at_ms),
    )


def bucket_numbers(at_ms: int) -> tuple[tuple[int, int], ...]:
    """(grain, bucket) of a moment, for every grain."""
    hour = at_ms // HOUR_MS
    day = day_of(hour)
    return ((Grain.HOUR, hour), (Grain.DAY, day), (Grain.MONTH, month_of(day)))


def sums_by_bucket(rows: Iterable[tuple[Any, int, Sequence[int]]]) -> dict[Any, list[int]]:
    """(what, milliseconds, sums) added up by (grain, bucket, what): first by hour, then by the rest."""
    by_hour: dict[tuple[int, Any], list[int]] = {}
    for what, at_ms, sums in rows:
        _add(by_hour, (at_ms // HOUR_MS, what), sums)
    found: dict[Any, list[int]] = {}
    numbers = {hour: bucket_numbers(hour * HOUR_MS) for hour in {hour for hour, _ in by_hour}}
    for (hour, what), total in by_hour.items():
        for grain, bucket in numbers[hour]:
            _add(found, (grain, bucket, what), total)
    return found


def _add(totals: dict[Any, list[int]], key: Any, sums: Sequence[int]) -> None:
    """Add to the total of `key`. Written out: it runs for every event and every sum of them."""
    total = totals.get(key)
    if total is None:
        totals[key] = list(sums)
        return
    total[0] += sums[0]
    total[1] += sums[1]
    total[2] += sums[2]
    total[3] += sums[3]
    total[4] += sums[4]
    total[5] += sums[5]
    total[6] += sums[6]
    if sums[7] > total[7]:  # noqa: PLR1730  # max() takes twice the time
        total[7] = sums[7]


def add_sums(table: str, what: str, sums: dict[Any, list[int]]) -> None:
    """Add to the rows of a rollup, made where missing; in key order, so that no two deadlock."""
    if not sums:
        return
    columns = ("grain", "bucket", what, *SUMS)
    moved = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in SUMS[:N_ADDED])
    last = SUMS[N_ADDED]
    later = (
        f"CASE WHEN excluded.{last} > {table}.{last} THEN excluded.{last} ELSE {table}.{last} END"
    )
    conflict = f"ON CONFLICT (grain, bucket, {what}) DO UPDATE SET {moved}, {last} = {later}"
    values = [(*key, *sums[key]) for key in sorted(sums)]
    into = f"INSERT INTO {table} ({', '.join(columns)})"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            kinds = ["smallint", "int", "int" if what == "series_id" else "text"]
            kinds += ["bigint"] * len(SUMS)
            arrays = ", ".join(f"%s::{kind}[]" for kind in kinds)
            parameters = [_array(column) for column in zip(*values, strict=True)]
            cursor.execute(f"{into} SELECT * FROM unnest({arrays}) {conflict}", parameters)  # noqa: S608
        else:
            marks = ", ".join(["%s"] * len(columns))
            cursor.executemany(f"{into} VALUES ({marks}) {conflict}", values)


def _array(column: Sequence[Any]) -> str | list[Any]:
    """A PostgreSQL array; of integers as text, which the driver would make one by one."""
    if isinstance(column[0], int):
        return "{" + ",".join(map(int.__repr__, column)) + "}"
    return list(column)


class Times:
    """What a model's events of one bucket took and how they ended."""

    __slots__ = ("durations", "first_tokens", "statuses")

    def __init__(self) -> None:
        self.durations: Counter[str] = Counter()
        self.first_tokens: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()

    def add(self, other: "Times") -> None:
        self.durations.update(other.durations)
        self.first_tokens.update(other.first_tokens)
        self.statuses.update(other.statuses)


# model, milliseconds, status, whether it counts, duration, time to first token
Timing = tuple[str, int, int, bool, int, int | None]


def times_by_bucket(timings: Iterable[Timing]) -> dict[ModelKey, Times]:
    """Histograms by (grain, bucket, model). Of what does not count, only the status is taken."""
    hourly: dict[tuple[int, str], Times] = defaultdict(Times)
    for model, at_ms, status, counted, duration_ms, first_token_ms in timings:
        times = hourly[at_ms // HOUR_MS, model]
        times.statuses[str(status)] += 1
        if counted:
            times.durations[str(histograms.bin_of(duration_ms))] += 1
            if first_token_ms is not None:
                times.first_tokens[str(histograms.bin_of(first_token_ms))] += 1
    found: dict[ModelKey, Times] = defaultdict(Times)
    for (hour, model), times in hourly.items():
        for grain, bucket in bucket_numbers(hour * HOUR_MS):
            found[grain, bucket, model].add(times)
    return found


def _add_to_models(
    fresh: list[tuple[Row, int]],
    by_series: dict[RollupKey, list[int]],
    numbers: dict[Combination, int],
) -> None:
    """Everybody's sums by model, and the histograms: few rows, read, added to and written back."""
    models = {number: names.model for names, number in numbers.items()}
    sums: dict[ModelKey, list[int]] = {}
    for (grain, bucket, number), total in by_series.items():
        _add(sums, (grain, bucket, models[number]), total)
    add_sums(_MODELS, "model", sums)
    add_times(
        times_by_bucket(
            (
                *(row.names.model, row.at_ms, row.status, row.counted),
                *(row.duration_ms, row.first_token_ms),
            )
            for row, _ in fresh
        )
    )


def add_times(found: dict[ModelKey, Times]) -> None:
    """Add to the histograms of rows that are there, and are this transaction's since `add_sums`."""
    columns = ("durations", "first_tokens", "statuses")
    changes: list[tuple[str | int, ...]] = []
    with connection.cursor() as cursor:
        for key in sorted(found):
            cursor.execute(
                f"SELECT {', '.join(columns)} FROM {_MODELS} "  # noqa: S608
                "WHERE grain = %s AND bucket = %s AND model = %s",
                key,
            )
            there = cursor.fetchone()
            total = [orjson.loads(each) if isinstance(each, str) else each for each in there]
            for into, name in zip(total, columns, strict=True):
                histograms.add(into, getattr(found[key], name))
            changes.append((*(orjson.dumps(each).decode() for each in total), *key))
        cast = "::jsonb" if connection.vendor == "postgresql" else ""
        settings = ", ".join(f"{name} = %s{cast}" for name in columns)
        cursor.executemany(
            f"UPDATE {_MODELS} SET {settings} WHERE grain = %s AND bucket = %s AND model = %s",  # noqa: S608
            changes,
        )
