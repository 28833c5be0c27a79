"""From the journal into the database, behind the request.

Whoever holds the lock drains: the background process all the time, a report before it reads. The
rows, their sums and the mark of how far a segment was read are one transaction, so a kill at any
point counts nothing twice and loses nothing.
"""

import gc
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import DatabaseError, DataError, IntegrityError, transaction
from django.utils import timezone

from accounts.runtime import env
from core.files import AlreadyHeldError, exclusive
from usage import ledger
from usage.journal.lines import FINAL, OPEN, PROGRESS, Record, encode
from usage.journal.segments import Names, is_held, read_from, segments, was_closed
from usage.journal.table import left_open
from usage.models import JournalMark
from usage.prices import tariff_in_force
from usage.records import BadRecordError, Row, row_of
from usage.series import Dictionary

log = logging.getLogger("gatehouse.journal")
BATCH = 10_000  # records; the larger, the fewer rollup rows an event
MAX_REJECTED_BYTES = 16 * 1024 * 1024
# They may be of somebody who is deleted later, an error that quotes what was asked, too.
_NAMES = {"un", "kn", "user_name", "api_key_name", "ci", "xf", "ua", "er", "traced"}
_REFUSED = (DataError, IntegrityError, ValueError, KeyError, TypeError, OverflowError)
Sink = Callable[[Sequence[Record]], None]
# Record kinds of the apps above, each with what writes its rows; `inference.apps` adds its own.
SINKS: dict[str, Sink] = {}
# Told of every batch that was committed: its rows that were new, each with its cost.
Listener = Callable[[Sequence[tuple[Row, int]]], None]
LISTENERS: list[Listener] = []
# Told of what a worker that died left open, once that is in the books (quotas take back and add).
ORPHAN_LISTENERS: list[Listener] = []


def journal_folder() -> Path:
    return env().data_path / "journal"


@dataclass(frozen=True, slots=True)
class Drained:
    """How many records were read, and whether that was everything there was."""

    records: int
    complete: bool


def drain(limit_s: float | None = None) -> Drained:
    """Bring everything that is in the journal now into the database, or what `limit_s` suffices for.

    Raises django.db.DatabaseError where the database does not take it; the journal then keeps it.
    """
    folder = journal_folder()
    if not folder.is_dir():
        return Drained(0, complete=True)
    until = time.monotonic() + limit_s if limit_s is not None else float("inf")
    orphans: list[tuple[Row, int]] = []
    try:
        with exclusive(folder / ".drain.lock", timeout_s=limit_s):
            drained = _drain(folder, until, orphans)
    except AlreadyHeldError:  # somebody else drains, and has more to do than we can wait for
        return Drained(0, complete=False)
    if orphans:  # by itself: who listens may have to wait for another store
        for listener in ORPHAN_LISTENERS:
            listener(orphans)
    return drained


def _drain(folder: Path, until: float, orphans: list[tuple[Row, int]]) -> Drained:
    paths = segments(folder)
    marks = JournalMark.objects.filter(pk__in=[path.name for path in paths]).in_bulk()
    dictionary = Dictionary()
    records, complete = 0, True
    for path in paths:
        segment = _Segment(path, marks.get(path.name), dictionary, until)
        records += segment.drain()
        complete = complete and segment.is_read
        orphans += segment.orphans
    return Drained(records, complete)


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """For the length of a batch: its thousands of tuples hold no cycles, and looking costs a tenth."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Segment:
    """One file of the journal, and how far it is in the database."""

    def __init__(
        self, path: Path, mark: JournalMark | None, dictionary: Dictionary, until: float
    ) -> None:
        self.is_read = False
        self.orphans: list[tuple[Row, int]] = []
        self._path = path
        self._until = until
        self._offset = mark.offset if mark else 0
        self._is_done = mark is not None and mark.done_at is not None
        self._dictionary = dictionary
        self._names = _names_of(path)

    def drain(self) -> int:
        """Read on from the mark; `is_read` says afterwards whether to the end."""
        if self._is_done:
            self._path.unlink(missing_ok=True)
            self.is_read = True
            return 0
        self._names.read_up_to(self._offset)
        held = is_held(
            self._path
        )  # asked before reading: what a dead worker wrote is all there then
        total = 0
        while time.monotonic() < self._until:
            records = self._read_batch(held=held)
            total += len(records)
            if len(records) < BATCH:  # the rest of a live one came meanwhile, and is for next time
                self.is_read = True
                break
        if self.is_read and not held:
            total += self._finish()
        return total

    def _read_batch(self, *, held: bool) -> Sequence[Record | None]:
        with _no_search_for_cycles():
            records, after = read_from(self._path, self._offset, limit=BATCH, held=held)
            if held and not records:
                records, after = self._spoilt_line()
            if records:
                self._take(records, after)
        return records

    def _spoilt_line(self) -> tuple[list[Record | None], int]:
        """The line at the mark where it cannot be read and never will: another one follows it.

        A line that is being written is unreadable, too, but it is the last one, or readable on the
        second look.
        """
        for _ in range(2):
            records, _ = read_from(self._path, self._offset, limit=2)
            if len(records) < 2 or records[0] is not None:
                return [], self._offset
            time.sleep(0.01)
        return read_from(self._path, self._offset, limit=1)

    def _take(self, records: Sequence[Record | None], after: int) -> None:
        """One batch and its mark; a record that is none, or that the database refuses, is put aside."""
        good = [record for record in records if record is not None]
        for record in good:
            self._names.take(record)
        if len(good) < len(records):
            log.error("journal %s: %d unreadable lines", self._path.name, len(records) - len(good))
        rows = self._rows([record for record in good if record.get("k") == FINAL])
        others = [record for record in good if record.get("k") in SINKS]
        self._write(rows, others, offset=after)
        self._offset = after
        self._names.was_read_to(after)

    def _write(
        self, rows: Sequence[Row], others: Sequence[Record], **mark: Any
    ) -> Sequence[tuple[Row, int]]:
        """Rows, what else there is, and the mark; what was new. What the database refuses is put aside."""
        try:
            fresh = self._write_at_once(rows, others, **mark)
        except _REFUSED:
            fresh = self._write_one_by_one(rows, others)
            self._write_at_once([], [], **mark)
        for listener in LISTENERS if fresh else ():
            listener(fresh)
        return fresh

    def _write_one_by_one(
        self, rows: Sequence[Row], others: Sequence[Record]
    ) -> list[tuple[Row, int]]:
        fresh: list[tuple[Row, int]] = []
        for row in rows:
            try:
                fresh += self._write_at_once([row], [])
            except _REFUSED as exc:
                self._put_aside({**row._asdict(), "names": list(row.names)}, exc)
        for record in others:
            try:
                self._write_at_once([], [record])
            except _REFUSED as exc:
                self._put_aside(record, exc)
        return fresh

    def _write_at_once(
        self, rows: Sequence[Row], others: Sequence[Record], **mark: Any
    ) -> list[tuple[Row, int]]:
        """All or none, in one transaction."""
        try:
            with transaction.atomic():
                fresh = ledger.write(rows, self._dictionary, tariff_in_force()) if rows else []
                for kind, sink in SINKS.items():
                    if mine := [record for record in others if record["k"] == kind]:
                        sink(mine)
                if mark:
                    JournalMark.objects.update_or_create(pk=self._path.name, defaults=mark)
        except BaseException:
            self._dictionary.forget()
            raise
        self._dictionary.keep()
        return fresh

    def _rows(self, records: Sequence[Record]) -> list[Row]:
        rows = []
        for each in records:
            record = self._names.whole(each)
            try:
                rows.append(row_of(record))
            except BadRecordError as exc:
                self._put_aside(record, exc)
        return rows

    def _put_aside(self, record: Record, exc: Exception) -> None:
        """Keep a refused record for people to look at, without names and up to a bound."""
        log.error("journal %s: a record was put aside", self._path.name, exc_info=exc)
        record = {name: value for name, value in record.items() if name not in _NAMES}
        with rejected_file().open("ab") as file:
            if file.tell() < MAX_REJECTED_BYTES:
                file.write(encode(record))

    def _finish(self) -> int:
        """Bill what a worker that was killed had under way, by its last progress (S-18); the file goes."""
        rows = self._rows([] if was_closed(self._path) else self._left_open())
        self.orphans += self._write(rows, [], offset=self._offset, done_at=timezone.now())
        self._path.unlink(missing_ok=True)
        _NAMES_OF.pop(self._path, None)
        return len(rows)

    def _left_open(self) -> list[Record]:
        """By the segment's table, or by its lines in one of the first format."""
        left = left_open(self._path)
        offset = 0
        while True:
            records, offset = read_from(self._path, offset, limit=BATCH)
            if not records:
                return [{**record, "est": True} for record in left.values()]
            for record in records:
                kind = record.get("k") if record else None
                if record and kind in {OPEN, PROGRESS}:
                    left[record["id"]] = record
                elif record and kind == FINAL:
                    left.pop(str(record.get("id")), None)


# What was read of the names of segments that go on; a few of them, as there are workers.
_NAMES_OF: dict[Path, Names] = {}
MAX_SEGMENTS = 1000


def _names_of(path: Path) -> Names:
    if len(_NAMES_OF) > MAX_SEGMENTS:
        _NAMES_OF.clear()
    if path not in _NAMES_OF:
        _NAMES_OF[path] = Names(path)
    return _NAMES_OF[path]


def drain_quietly() -> bool:
    """Drain for the background loop: False where the database did not take it, which is logged."""
    try:
        drain()
    except DatabaseError as exc:
        log.warning("the database does not take usage at the moment: %s", type(exc).__name__)
        return False
    return True


def rejected_file() -> Path:
    """Where records are kept that could not be rows."""
    return journal_folder() / "rejected"


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
