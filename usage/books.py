"""Whether the books balance: journal, events and rollups compared, for the last days.

What has to be equal is summed by the database in one statement each, so that nothing moves in
between; that is another way than the one by which rollups are written. The difference has to be 0.
"""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from core.errors import ConflictError
from core.files import AlreadyHeldError, exclusive
from usage.buckets import (
    DAY_MS,
    HOUR_MS,
    HOURS_A_DAY,
    day_of,
    first_day,
    first_id,
    hour_of,
    milliseconds,
    month_of,
)
from usage.drain import drain, journal_folder
from usage.journal.lines import FINAL, Record, decode
from usage.journal.segments import Names, segments
from usage.journal.table import lines_at
from usage.models import BooksCheck, Grain, JournalMark, ModelRollup, UsageEvent, UsageRollup
from usage.records import BadRecordError, row_of
from usage.retention import expired_before

log = logging.getLogger("gatehouse.books")
DAYS, KEPT, PART, CHECK_S = 3, timedelta(days=31), 2000, 30.0
_EVENTS, _ROLLUPS, _MODELS = (
    each._meta.db_table  # noqa: SLF001
    for each in (UsageEvent, UsageRollup, ModelRollup)
)
_COMPARED = ("requests", "errors", "prompt_tokens", "cached_tokens", "completion_tokens", "cost")
_OF_EVENTS = ", ".join(
    [
        "COALESCE(SUM(CASE WHEN counted THEN 1 ELSE 0 END), 0)",
        "COALESCE(SUM(CASE WHEN counted THEN 0 ELSE 1 END), 0)",
        *(
            f"COALESCE(SUM(CASE WHEN counted THEN {name} ELSE 0 END), 0)"
            for name in ("prompt_tokens", "cached_tokens", "completion_tokens", "cost")
        ),
    ]
)
_OF_ROLLUPS = ", ".join(f"COALESCE(SUM({name}), 0)" for name in _COMPARED)


def check(now: datetime, *, limit_s: float | None = None) -> BooksCheck:
    """Compare, keep the result and return it. The latest one is what pages and metrics show.

    With `limit_s` neither the drain before it nor any statement takes longer: OperationalError.
    """
    drain(limit_s)
    with _within(limit_s):
        findings = [*_days(now), *_months(now), *_journal()]
    difference = sum(each["difference"] for each in findings)
    kept = BooksCheck.objects.create(at=now, difference=difference, report={"findings": findings})
    BooksCheck.objects.filter(at__lt=now - KEPT).delete()
    if difference:
        log.error("the books do not balance: %d; see the system page", difference)
    return kept


def check_now(now: datetime) -> BooksCheck:
    """The same for somebody who waits for it. Raises ConflictError while another one is made."""
    try:
        with exclusive(journal_folder() / ".check.lock", timeout_s=0):
            return check(now, limit_s=CHECK_S)
    except AlreadyHeldError as exc:
        raise ConflictError("The books are being compared at this moment.") from exc


@contextmanager
def _within(limit_s: float | None) -> Iterator[None]:
    """Let the database break off what takes longer; SQLite all of it together, and without a
    transaction of ours, which would keep everybody from writing.
    """
    if limit_s is None:
        yield
    elif connection.vendor == "postgresql":
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = '{limit_s * 1000:.0f}'")
            yield
    else:
        connection.ensure_connection()
        raw, until = connection.connection, time.monotonic() + limit_s
        raw.set_progress_handler(lambda: time.monotonic() > until, 100_000)
        try:
            yield
        finally:
            raw.set_progress_handler(None, 0)


def latest() -> BooksCheck | None:
    return BooksCheck.objects.order_by("-at", "-id").first()


def latest_difference() -> int | None:
    """What the latest comparison found; None before the first."""
    found = latest()
    return found.difference if found else None


def summary(done: BooksCheck) -> dict[str, int]:
    """How many requests and errors each of the books has of the days compared, and the journal's records."""
    days = [each for each in done.report["findings"] if each["what"].startswith("day ")]

    def total(source: str) -> int:
        sums = [day["sums"][source] for day in days]
        return sum(each["requests"] + each["errors"] for each in sums)

    journal = next(each for each in done.report["findings"] if each["what"] == "journal")
    return {
        "journal": journal["records"],
        "events": total("events"),
        "hours": total("hours by series"),
        "days": total("day by series"),
    }


def _finding(what: str, sources: dict[str, list[int]]) -> dict[str, Any]:
    """One comparison of several sums of the same thing; the difference is of all fields together."""
    first = next(iter(sources.values()))
    difference = sum(
        abs(value - wanted)
        for sums in sources.values()
        for value, wanted in zip(sums, first, strict=True)
    )
    shown = {name: dict(zip(_COMPARED, sums, strict=True)) for name, sums in sources.items()}
    return {"what": what, "difference": difference, "sums": shown}


def _sums(sources: Iterable[tuple[str, str]]) -> dict[str, list[int]]:
    """Several sources in one statement, so that they are of one moment."""
    parts = [
        f"SELECT {index} AS n, x.* FROM (SELECT {columns_from}) x"  # noqa: S608
        for index, (_, columns_from) in enumerate(sources)
    ]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts) + " ORDER BY 1")
        rows = cursor.fetchall()
    names = [name for name, _ in sources]
    return {name: [int(value) for value in row[1:]] for name, row in zip(names, rows, strict=True)}


def _days(now: datetime) -> list[dict[str, Any]]:
    """Each of the last days: events, hours, the day, and everybody's by model."""
    today = day_of(hour_of(now))
    cut = expired_before()
    kept_from = day_of(hour_of(cut)) + 1 if cut else 0
    return [_day(day) for day in range(max(today - DAYS + 1, kept_from), today + 1)]


def _day(day: int) -> dict[str, Any]:
    low, high = (_literal(first_id(each * DAY_MS)) for each in (day, day + 1))
    hours = f"BETWEEN {day * HOURS_A_DAY} AND {(day + 1) * HOURS_A_DAY - 1}"
    sources = [("events", f"{_OF_EVENTS} FROM {_EVENTS} WHERE id >= {low} AND id < {high}")]
    for name, table in (("series", _ROLLUPS), ("models", _MODELS)):
        rows = f"{_OF_ROLLUPS} FROM {table} WHERE"
        sources.append((f"hours by {name}", f"{rows} grain = {Grain.HOUR:d} AND bucket {hours}"))
        sources.append((f"day by {name}", f"{rows} grain = {Grain.DAY:d} AND bucket = {day}"))
    found = _finding(f"day {day}", _sums(sources))
    if found["difference"]:
        found["hours"] = [hour for hour in range(HOURS_A_DAY) if _differs(day, hour)]
    return found


def _differs(day: int, of_day: int) -> bool:
    """Whether an hour's events and rollups say something else; asked only of days that do."""
    hour = day * HOURS_A_DAY + of_day
    low, high = (_literal(first_id(each * HOUR_MS)) for each in (hour, hour + 1))
    sources = [("events", f"{_OF_EVENTS} FROM {_EVENTS} WHERE id >= {low} AND id < {high}")]
    for name, table in (("series", _ROLLUPS), ("models", _MODELS)):
        rows = f"{_OF_ROLLUPS} FROM {table} WHERE grain = {Grain.HOUR:d} AND bucket = {hour}"
        sources.append((f"hour by {name}", rows))
    return bool(_finding("hour", _sums(sources))["difference"])


def _literal(event_id: Any) -> str:
    if connection.vendor == "postgresql":
        return f"'{event_id}'::uuid"
    return f"'{event_id.hex}'"


def _months(now: datetime) -> list[dict[str, Any]]:
    """This month and the last: their rows against those of their days."""
    this = month_of(day_of(hour_of(now)))
    found = []
    for month in (this - 1, this):
        days = f"BETWEEN {first_day(month)} AND {first_day(month + 1) - 1}"
        sources = []
        for name, table in (("series", _ROLLUPS), ("models", _MODELS)):
            rows = f"{_OF_ROLLUPS} FROM {table} WHERE"
            sources.append((f"days by {name}", f"{rows} grain = {Grain.DAY:d} AND bucket {days}"))
            month_row = f"{rows} grain = {Grain.MONTH:d} AND bucket = {month}"
            sources.append((f"month by {name}", month_row))
        found.append(_finding(f"month {month}", _sums(sources)))
    return found


def _journal() -> list[dict[str, Any]]:
    """Every record that is still in the journal and said to be in the database is there, the same.

    A live worker's segment may well be older than the retention of events: those that went are left out.
    """
    cut = expired_before()
    kept_from_ms = milliseconds(cut) if cut else 0
    looked_at = missing = different = 0
    marks = dict(JournalMark.objects.values_list("segment", "offset"))
    for path in segments(journal_folder()):
        for records in _drained(path, marks.get(path.name, 0)):
            n, gone, other = _compare(records, kept_from_ms)
            looked_at, missing, different = looked_at + n, missing + gone, different + other
    found = {"what": "journal", "difference": missing + different}
    return [{**found, "records": looked_at, "missing": missing}]


def _drained(path: Path, mark: int) -> Iterator[list[Record]]:
    """The final records of a segment before its mark, in parts; none of one that went meanwhile."""
    part: list[Record] = []
    names = Names(path)
    with suppress(FileNotFoundError), path.open("rb") as file:
        begin = lines_at(file)
        file.seek(begin)
        for line in file.read(max(0, mark - begin)).split(b"\n"):
            record = decode(line)
            names.take(record)
            if record is not None and record.get("k") == FINAL:
                part.append(names.whole(record))
            if len(part) == PART:
                yield part
                part = []
    yield part


def _compare(records: list[Record], kept_from_ms: int) -> tuple[int, int, int]:
    """How many records there are, how many have no event, and how many another than they say."""
    wanted = {}
    for record in records:
        try:
            row = row_of(record)
        except BadRecordError:  # it was set aside, which is told elsewhere
            continue
        if row.at_ms >= kept_from_ms:
            wanted[row.id] = (row.prompt_tokens, row.completion_tokens, row.counted)
    columns = ("id", "prompt_tokens", "completion_tokens", "counted")
    found = UsageEvent.objects.filter(pk__in=list(wanted)).values_list(*columns)
    there = {str(pk): tuple(rest) for pk, *rest in found}
    missing = [pk for pk in wanted if pk not in there]
    different = [pk for pk in there if there[pk] != wanted[pk]]
    return len(wanted), len(missing), len(different)
