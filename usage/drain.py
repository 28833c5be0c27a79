"""From the journal into the database, behind the request.

Whoever holds the lock drains: the background process all the time, a report before it reads. The
rows and the mark of how far a segment was read are one transaction, so a kill at any point counts
nothing twice and loses nothing.
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import DatabaseError, DataError, IntegrityError, connection, transaction

from accounts.runtime import env
from core.files import exclusive
from usage.events import give_up_names_of_the_deleted
from usage.journal import (
    FINAL,
    OPEN,
    PROGRESS,
    Record,
    encode,
    is_held,
    read_from,
    segments,
    was_closed,
)
from usage.models import JournalMark, UsageEvent

log = logging.getLogger("gatehouse.journal")
BATCH = 2000
MAX_REJECTED_BYTES = 16 * 1024 * 1024
_BAD_RECORD = (DataError, IntegrityError, ValueError, KeyError, TypeError, OverflowError)
Sink = Callable[[Sequence[Record]], None]
# Record kinds of the apps above, each with what writes its rows; `inference.apps` adds its own.
SINKS: dict[str, Sink] = {}


def journal_folder() -> Path:
    return env().data_path / "journal"


def drain() -> int:
    """Bring everything that is in the journal now into the database; the number of records read.

    Raises django.db.DatabaseError where the database does not take it; the journal then keeps it.
    """
    folder = journal_folder()
    if not folder.is_dir():
        return 0
    with exclusive(folder / ".drain.lock"):
        paths = segments(folder)
        marks = dict(JournalMark.objects.values_list("segment", "offset")) if paths else {}
        return sum(_drain_segment(path, marks.get(path.name, 0)) for path in paths)


def _drain_segment(path: Path, offset: int) -> int:
    held = is_held(path)  # asked before reading: what a dead worker wrote is all there then
    total = 0
    while True:
        records, after = read_from(path, offset, limit=BATCH, held=held, ended=True)
        if not records:
            break
        if held and None in records:  # perhaps not all of it was to be seen yet from this core
            time.sleep(0.01)
            records, after = read_from(path, offset, limit=BATCH, held=held, ended=True)
        _write(path, records, after)
        offset, total = after, total + len(records)
    if not held:
        total += _settle_left_open(path)
        path.unlink(missing_ok=True)
        JournalMark.objects.filter(pk=path.name).delete()
    return total


def _write(path: Path, records: Sequence[Record | None], offset: int) -> None:
    """One batch and its mark; a row that the database refuses is put aside, not the batch."""
    good = [record for record in records if record is not None]
    if len(good) < len(records):
        log.error("journal %s: %d unreadable lines", path.name, len(records) - len(good))
    finals = [record for record in good if record.get("k") == FINAL]
    try:
        with transaction.atomic():
            _insert(finals)
            for kind, sink in SINKS.items():
                if rows := [record for record in good if record.get("k") == kind]:
                    sink(rows)
            JournalMark.objects.update_or_create(pk=path.name, defaults={"offset": offset})
    except _BAD_RECORD:
        _write_one_by_one(path, good, offset)


def _put_aside(path: Path, record: Record) -> None:
    """Keep a refused record for people to look at, up to a bound."""
    with path.open("ab") as file:
        if file.tell() < MAX_REJECTED_BYTES:
            file.write(encode(record))


def _write_one_by_one(path: Path, records: Sequence[Record], offset: int) -> None:
    for record in records:
        kind = record.get("k")
        try:
            with transaction.atomic():
                if kind == FINAL:
                    _insert([record])
                elif kind in SINKS:
                    SINKS[str(kind)]([record])
        except _BAD_RECORD:
            log.exception("journal %s: a record was refused and put aside", path.name)
            _put_aside(path.parent / "rejected", record)
    JournalMark.objects.update_or_create(pk=path.name, defaults={"offset": offset})


_COLUMNS = [
    "id",
    "created_at",
    "user_id",
    "user_name",
    "source",
    "api_key_id",
    "api_key_name",
    "model",
    "served_model",
    "endpoint",
    "prompt_tokens",
    "completion_tokens",
    "status",
    "counted",
    "estimated",
    "duration_ms",
    "correlation_id",
]
# Only the id may be there already. (SQLite's OR IGNORE would drop a row that breaks a check, too.)
_INSERT = (
    f"INSERT INTO {UsageEvent._meta.db_table} ({', '.join(_COLUMNS)}) "  # noqa: S608, SLF001
    f"VALUES ({', '.join(['%s'] * len(_COLUMNS))}) ON CONFLICT (id) DO NOTHING"
)


def _insert(records: Sequence[Record]) -> None:
    """Plain SQL: rows through the ORM cost the machine twenty times as much (decision 003)."""
    if records:
        give_up_names_of_the_deleted(records)
        native = connection.vendor == "postgresql"
        as_id, as_time = (UUID, _as_it_is) if native else (_hex_of, _text_of)
        with connection.cursor() as cursor:
            cursor.executemany(_INSERT, [values_of(each, as_id, as_time) for each in records])


def _as_it_is(moment: datetime) -> datetime:
    return moment


def _text_of(moment: datetime) -> str:
    """A time as Django writes it into SQLite, without its many questions per row."""
    return str(moment.replace(tzinfo=None))


def _hex_of(event_id: str) -> str:
    """An id as Django writes it into SQLite. Raises ValueError for what is none."""
    digits = event_id.replace("-", "")
    if len(digits) != 32 or int(digits, 16) < 0:
        raise ValueError(f"not an id: {event_id[:40]}")
    return digits


def values_of(
    record: Record, as_id: Callable[[str], Any], as_time: Callable[[datetime], Any]
) -> tuple[Any, ...]:
    """The row of an `f` record, or of an `o` or `p` one that nobody ended, as this database takes it.

    Raises ValueError, KeyError or TypeError for what is no such record.
    """
    return (
        as_id(record["id"]),
        as_time(datetime.fromtimestamp(record["t"], tz=UTC)),
        record["u"],
        record["un"][:254],
        record["s"],
        record["ki"],
        record["kn"],
        record["m"][:255],
        record["sm"][:255],
        record["e"][:200],
        record.get("p", 0),
        record.get("c", 0),
        record.get("st", 500),
        record.get("n", False),
        record.get("est", False),
        min(record.get("d", 0), 2**31 - 1),
        record["cid"],
    )


def _settle_left_open(path: Path) -> int:
    """Bill what a worker that was killed had under way, by its last progress (S-18)."""
    if was_closed(path):
        return 0
    left: dict[str, dict[str, Any]] = {}
    offset = 0
    while True:
        records, offset = read_from(path, offset, limit=BATCH)
        if not records:
            break
        for record in records:
            kind = record.get("k") if record else None
            if record and kind in {OPEN, PROGRESS}:
                left[record["id"]] = {**record, "est": True}
            elif record and kind == FINAL:
                left.pop(record["id"], None)
    with transaction.atomic():
        _insert(list(left.values()))
    return len(left)


def drain_quietly() -> bool:
    """Drain for the background loop: False where the database did not take it, which is logged."""
    try:
        drain()
    except DatabaseError as exc:
        log.warning("the database does not take usage at the moment: %s", type(exc).__name__)
        return False
    return True


def background_lock() -> Path:
    """Held by the background process for as long as it lives."""
    return env().data_path / "state" / "background.lock"


def background_is_there() -> bool:
    path = background_lock()
    return path.exists() and is_held(path)


def journal_is_writable() -> bool:
    folder = journal_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return False
    return os.access(folder, os.W_OK)
