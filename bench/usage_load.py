"""A year of events into a database, with the rollups and the dictionary that the drain would have made.

PostgreSQL takes binary COPY through one connection per process, a month at a time, straight into the
monthly partitions; SQLite takes plain INSERTs. Needs Django's settings in place (`bench.usage_reports`).
"""

import multiprocessing
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any

import numpy as np
import orjson
import psycopg
from django.contrib.auth.hashers import make_password
from django.db import connection, connections

from accounts.models import ApiKey, User
from bench.usage_data import (
    N_SUMS,
    STATUSES,
    Calendar,
    Day,
    Shape,
    as_histograms,
    joined,
    of_models,
)
from usage import partitions
from usage.buckets import HOURS_A_DAY
from usage.ledger import EVENT_COLUMNS, SUMS
from usage.models import Grain, UsageSeries
from usage.series import digest_of

PASSWORD = "correct horse lamp"
ADMIN = "admin@example.org"
N_PROCESSES = 2
ROLLUP_COLUMNS = ("grain", "bucket", "series_id", *SUMS)
MODEL_COLUMNS = ("grain", "bucket", "model", *SUMS, "durations", "first_tokens", "statuses")
_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER = struct.pack(">h", -1)


def people(shape: Shape) -> None:
    """The accounts, their keys and an admin; all with one password."""
    secret = make_password(PASSWORD)
    users = [
        User(id=pk, email=f"user-{n}@example.org", name=f"User {n}", password=secret)
        for n, pk in enumerate(shape.user_ids)
    ]
    admin = User(email=ADMIN, name="Admin", role="admin", password=secret)
    for each in (*users, admin):
        each.status = "active"
    User.objects.bulk_create([admin, *users], batch_size=500)
    ApiKey.objects.bulk_create(
        (
            ApiKey(
                id=pk,
                user_id=shape.user_ids[n % shape.users],
                name=f"key {n}",
                prefix=f"p{n}",
                digest=f"digest-{n}",
                digest_key_id="k",
                role="user",
            )
            for n, pk in enumerate(shape.key_ids)
        ),
        batch_size=500,
    )


def dictionary(shape: Shape) -> None:
    """`usage_series`; a series' number is its place plus one."""
    made = []
    for place, each in enumerate(shape.series):
        names = shape.combination(each)
        key_name = f"key {each.key}" if each.key >= 0 else None
        made.append(
            UsageSeries(
                id=place + 1,
                digest=digest_of(names),
                user_name=f"User {each.user}",
                api_key_name=key_name,
                **names._asdict(),
            )
        )
    UsageSeries.objects.bulk_create(made, batch_size=500)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)",
                [UsageSeries._meta.db_table, len(made)],  # noqa: SLF001
            )


def load(
    n: int, now: datetime, progress: Callable[[str], None], shape: Shape | None = None
) -> float:
    """Everything of `n` events of `shape`'s people; the seconds that events and rollups took."""
    shape, calendar = shape or Shape(), Calendar(n, now)
    people(shape)
    dictionary(shape)
    months = calendar.days_by_month()
    for month in sorted(set(months) - set(partitions.months())):
        if partitions.are_used():
            partitions.make(month)
    settings = dict(connection.get_connection_params())
    connections.close_all()
    started = time.perf_counter()
    if partitions.are_used():
        context = multiprocessing.get_context("fork")
        shares = [sorted(months)[i::N_PROCESSES] for i in range(N_PROCESSES)]
        jobs = [
            context.Process(target=_copy_months, args=(shape, calendar, share, settings, progress))
            for share in shares
        ]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
        if any(job.exitcode for job in jobs):
            raise RuntimeError("loading failed")
    else:
        for month, days in months.items():
            _insert_month(shape, calendar, month, days)
            progress(f"{month // 12}-{month % 12 + 1:02d} loaded")
    took = time.perf_counter() - started
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if partitions.are_used() else "ANALYZE")
    return took


class _Rollups:
    """The rollup rows of one month, made day by day."""

    def __init__(self, shape: Shape, month: int) -> None:
        self._shape, self._month = shape, month
        self.rows: list[np.ndarray] = []
        self.models: list[tuple[Any, ...]] = []
        self._sums: list[np.ndarray] = []
        self._times: list[np.ndarray] = []

    def add(self, day: Day) -> None:
        sums, times = day.sums(), day.times()
        for hour in range(HOURS_A_DAY):
            self._keep(Grain.HOUR, day.number * HOURS_A_DAY + hour, sums[hour], times[:, hour])
        whole, of_day = joined(sums), times.sum(axis=1)
        self._keep(Grain.DAY, day.number, whole, of_day)
        self._sums.append(whole)
        self._times.append(of_day)

    def finish(self) -> None:
        whole = joined(np.stack(self._sums))
        self._keep(Grain.MONTH, self._month, whole, sum(self._times))

    def _keep(self, grain: Grain, bucket: int, sums: np.ndarray, times: np.ndarray) -> None:
        used = np.flatnonzero(sums[:, 0] + sums[:, 1])
        rows = np.empty((len(used), 3 + N_SUMS), np.int64)
        rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3:] = grain, bucket, used + 1, sums[used]
        self.rows.append(rows)
        for model, total in enumerate(of_models(sums, self._shape)):
            if total[0] + total[1]:
                shown = [orjson.dumps(each).decode() for each in as_histograms(times[:, model])]
                name = self._shape.model(model)
                self.models.append((int(grain), bucket, name, *total.tolist(), *shown))


# --- PostgreSQL ---------------------------------------------------------------------------------


def _copy_months(
    shape: Shape,
    calendar: Calendar,
    months: Sequence[int],
    settings: dict[str, Any],
    progress: Callable[[str], None],
) -> None:
    words = {name: settings[name] for name in ("host", "port", "user", "dbname")}
    with closing(psycopg.connect(**words)) as link:
        for month in months:
            rollups = _Rollups(shape, month)
            columns = ", ".join(EVENT_COLUMNS)
            copying = f"COPY {partitions.name_of(month)} ({columns}) FROM STDIN (FORMAT binary)"
            with link.cursor().copy(copying) as copy:
                copy.write(_SIGNATURE)
                for day in calendar.days_by_month()[month]:
                    events = Day(shape, calendar, day)
                    copy.write(_event_rows(events))
                    rollups.add(events)
                copy.write(_TRAILER)
            rollups.finish()
            _copy_rollups(link, rollups)
            link.commit()
            progress(f"{month // 12}-{month % 12 + 1:02d} loaded")


def _event_rows(day: Day) -> bytes:
    """A day in PostgreSQL's binary COPY format. Rows without a first token are four bytes shorter."""
    parts = [("n", ">i2")]
    kinds = ["V16", *[">i8"] * 2, *[">i4"] * 7, ">i2", *["u1"] * 3, "V36"]
    for name, kind in zip(EVENT_COLUMNS, kinds, strict=False):
        parts += [(f"{name}_bytes", ">i4"), (name, kind)]
    parts.append(("unknown_model_bytes", ">i4"))
    made = np.zeros(day.n, np.dtype(parts))
    made["n"], made["unknown_model_bytes"] = len(EVENT_COLUMNS), -1
    for name in EVENT_COLUMNS[:-1]:
        made[f"{name}_bytes"] = made.dtype[name].itemsize
    for name, value in _columns(day).items():
        made[name] = value
    made["id"] = day.ids.view("V16").ravel()
    made["correlation_id"] = day.correlations.view("V36").ravel()
    made["first_token_ms_bytes"] = np.where(day.first < 0, -1, 4)
    raw = made.view(np.uint8).reshape(day.n, made.dtype.itemsize)
    kept = np.ones(raw.shape, bool)
    at = made.dtype.fields["first_token_ms"][1]
    kept[day.first < 0, at : at + 4] = False
    return raw[kept].tobytes()


def _columns(day: Day) -> dict[str, np.ndarray]:
    """The numbers of an event by column, but id and correlation id."""
    return {
        "cost": day.cost,
        "units": np.zeros(day.n, np.int64),
        "series_id": day.series + 1,
        "prompt_tokens": day.prompt,
        "cached_tokens": day.cached,
        "completion_tokens": day.completion,
        "duration_ms": day.duration,
        "first_token_ms": day.first,
        "queue_ms": day.queue,
        "status": STATUSES[day.status],
        "counted": day.counted,
        "estimated": np.zeros(day.n, bool),
        "streamed": day.streamed,
    }


def _copy_rollups(link: psycopg.Connection[Any], rollups: _Rollups) -> None:
    rows = np.concatenate(rollups.rows)
    rows = rows[np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))]
    kinds = [">i2", ">i4", ">i4", *[">i8"] * N_SUMS]
    parts = [("n", ">i2")]
    for name, kind in zip(ROLLUP_COLUMNS, kinds, strict=True):
        parts += [(f"{name}_bytes", ">i4"), (name, kind)]
    made = np.zeros(len(rows), np.dtype(parts))
    made["n"] = len(ROLLUP_COLUMNS)
    for place, name in enumerate(ROLLUP_COLUMNS):
        made[f"{name}_bytes"] = made.dtype[name].itemsize
        made[name] = rows[:, place]
    columns = ", ".join(ROLLUP_COLUMNS)
    with link.cursor().copy(f"COPY usage_rollup ({columns}) FROM STDIN (FORMAT binary)") as copy:
        copy.write(_SIGNATURE + made.tobytes() + _TRAILER)
    columns = ", ".join(MODEL_COLUMNS)
    with link.cursor().copy(f"COPY usage_modelrollup ({columns}) FROM STDIN") as copy:
        for row in rollups.models:
            copy.write_row(row)


# --- SQLite -------------------------------------------------------------------------------------


def _insert_month(shape: Shape, calendar: Calendar, month: int, days: Sequence[int]) -> None:
    rollups = _Rollups(shape, month)
    connection.ensure_connection()
    link = connection.connection  # the driver's: Django's cursor takes a copy of every row
    with closing(link.cursor()) as cursor:
        cursor.execute("BEGIN IMMEDIATE")
        for number in days:
            day = Day(shape, calendar, number)
            cursor.executemany(_insert("usage_event", EVENT_COLUMNS), _event_tuples(day))
            rollups.add(day)
        rollups.finish()
        rows = np.concatenate(rollups.rows)
        rows = rows[np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))]
        cursor.executemany(_insert("usage_rollup", ROLLUP_COLUMNS), rows.tolist())
        cursor.executemany(_insert("usage_modelrollup", MODEL_COLUMNS), rollups.models)
        cursor.execute("COMMIT")


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


def _event_tuples(day: Day) -> Iterator[tuple[Any, ...]]:
    text = day.ids.tobytes().hex()
    ids = [text[i : i + 32] for i in range(0, len(text), 32)]
    told = day.correlations.tobytes().decode()
    columns = _columns(day)
    columns["first_token_ms"] = np.where(day.first < 0, None, day.first)
    lists = [each.tolist() for each in columns.values()]
    correlations = [told[i : i + 36] for i in range(0, len(told), 36)]
    return zip(ids, *lists, correlations, [None] * day.n, strict=True)
