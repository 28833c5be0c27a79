"""From the journal into the database, behind the request.

Whoever holds the lock drains: the background process all the time, a report before it reads. The
rows and the mark of how far a segment was read are one transaction, so a kill at any point counts
nothing twice and loses nothing.
"""

import logging
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import DatabaseError, DataError, IntegrityError, transaction

from accounts.runtime import env
from core.files import exclusive
from usage.journal import (
    CLOSED,
    FINAL,
    OPEN,
    PROGRESS,
    Record,
    encode,
    is_held,
    read_from,
    segments,
)
from usage.models import JournalMark, UsageEvent

log = logging.getLogger("gatehouse.journal")
BATCH = 2000
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
        return sum(_drain_segment(path) for path in segments(folder))


def _drain_segment(path: Path) -> int:
    held = is_held(path)  # asked before reading: what a dead worker wrote is all there then
    mark = JournalMark.objects.filter(pk=path.name).first()
    offset, total = (mark.offset if mark else 0), 0
    while True:
        records, after = read_from(path, offset, limit=BATCH)
        if not records:
            break
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
    except (DataError, IntegrityError, ValueError, KeyError, TypeError):
        _write_one_by_one(path, good, offset)


def _write_one_by_one(path: Path, records: Sequence[Record], offset: int) -> None:
    for record in records:
        kind = record.get("k")
        try:
            with transaction.atomic():
                if kind == FINAL:
                    _insert([record])
                elif kind in SINKS:
                    SINKS[str(kind)]([record])
        except (DataError, IntegrityError, ValueError, KeyError, TypeError):
            log.exception("journal %s: a record was refused and put aside", path.name)
            with (path.parent / "rejected").open("ab") as file:
                file.write(encode(record))
    JournalMark.objects.update_or_create(pk=path.name, defaults={"offset": offset})


def _insert(records: Sequence[Record]) -> None:
    rows = [row_of(record) for record in records]
    UsageEvent.objects.bulk_create(rows, ignore_conflicts=True, batch_size=500)


def row_of(record: Record) -> UsageEvent:
    """The row of an `f` record, or of an `o` or `p` one that nobody ended.

    Raises ValueError for counts that are none: SQLite's OR IGNORE would drop such a row in silence.
    """
    if record.get("p", 0) < 0 or record.get("c", 0) < 0:
        raise ValueError("negative token counts")
    return UsageEvent(
        id=UUID(record["id"]),
        created_at=datetime.fromtimestamp(record["t"], tz=UTC),
        user_id=record["u"],
        user_name=record["un"][:254],
        source=record["s"],
        api_key_id=record["ki"],
        api_key_name=record["kn"],
        model=record["m"][:255],
        served_model=record["sm"][:255],
        endpoint=record["e"][:200],
        prompt_tokens=record.get("p", 0),
        completion_tokens=record.get("c", 0),
        status=record.get("st", 500),
        counted=record.get("n", False),
        estimated=record.get("est", False),
        duration_ms=min(record.get("d", 0), 2**31 - 1),
        correlation_id=record["cid"],
    )


def _settle_left_open(path: Path) -> int:
    """Bill what a worker that was killed had under way, by its last progress (S-18).

    A segment that was closed in good order moved its open records to the next one.
    """
    left: dict[str, dict[str, Any]] = {}
    offset = 0
    while True:
        records, offset = read_from(path, offset, limit=BATCH)
        if not records:
            break
        for record in records:
            kind = record.get("k") if record else None
            if kind == CLOSED:
                return 0
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
