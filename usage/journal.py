"""The append-only journal between the inference path and the database (docs/journal.md).

One segment per worker, held by a file lock for as long as the worker lives. A record is one line,
written with one `write` to an O_APPEND descriptor, so that a `kill -9` right after it loses
nothing. Imports no models: the lane writes here.
"""

import fcntl
import logging
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

log = logging.getLogger("gatehouse.journal")
VERSION = b"1"
SEGMENT_BYTES = 8 * 1024 * 1024
MAX_RECORD_BYTES = 4 * 1024 * 1024
SUFFIX = ".journal"
OPEN, PROGRESS, FINAL, CLOSED, RESPONSE = "o", "p", "f", "c", "r"

Record = dict[str, Any]


class JournalError(Exception):
    """The journal cannot be written: no space, no permission."""


def encode(record: Record) -> bytes:
    """`1 <crc32 of the JSON, 8 hex> <JSON>`, ended by a newline."""
    return line_of(orjson.dumps(record))


def line_of(body: bytes) -> bytes:
    """The line of a record that is JSON already."""
    return b"%b %08x %b\n" % (VERSION, zlib.crc32(body), body)


def decode(line: bytes) -> Record | None:
    """The record of one line without its newline, or None where it is torn or not ours."""
    version, _, rest = line.partition(b" ")
    checksum, _, body = rest.partition(b" ")
    if version != VERSION or len(checksum) != 8:
        return None
    try:
        if int(checksum, 16) != zlib.crc32(body):
            return None
        record = orjson.loads(body)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


class Journal:
    """Writes one worker's records. Not for use by two threads at once: the loop's thread writes."""

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._fd = -1
        self._size = 0
        self._serial = 0
        self._name = f"{os.getpid()}-{os.urandom(4).hex()}"
        self._torn = False
        self._open: dict[str, bytes] = {}

    def _start_segment(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{self._name}-{self._serial:06d}{SUFFIX}"
        draft = path.with_suffix(".draft")
        fd = os.open(
            draft, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
        )
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        draft.rename(
            path
        )  # seen under its name only once locked, or a drain would take it for dead
        self._serial += 1
        carried = b"".join(self._open.values())  # what is still under way moves along
        if carried and os.write(fd, carried) != len(carried):
            path.unlink()
            os.close(fd)
            raise JournalError("the disk is full")
        old, self._fd, self._size, self._torn = self._fd, fd, len(carried), False
        if old >= 0:
            closing = encode({"k": CLOSED})
            if os.write(old, closing) != len(closing):
                log.warning("a journal segment was closed without its last line: the disk is full")
            os.close(old)

    def _append(self, line: bytes) -> None:
        """One whole line or an error; the torn rest of a failed one is ended by the next, and rejected."""
        whole = b"\n" + line if self._torn else line
        written = 0
        try:
            written = os.write(self._fd, whole)
        finally:
            self._torn = written != len(whole) and (written > 0 or self._torn)
        if written != len(whole):
            raise JournalError("the disk is full")

    def write(self, record: Record) -> None:
        """Append one record. Raises JournalError where it cannot be written."""
        self.write_json(record["k"], record["id"], orjson.dumps(record))

    def write_json(self, kind: str, event_id: str, body: bytes) -> None:
        """Append one record that is JSON already, of the `kind` and `event_id` it holds."""
        line = line_of(body)
        try:
            if self._fd < 0 or self._size >= self._segment_bytes:
                self._start_segment()
            self._append(line)
        except OSError as exc:
            raise JournalError(str(exc)) from exc
        self._size += len(line)
        if kind in {OPEN, PROGRESS}:
            self._open[event_id] = line
        elif kind == FINAL:
            self._open.pop(event_id, None)

    def close(self) -> None:
        """End the segment in good order; what is still open is settled by the drain."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def segments(folder: Path) -> list[Path]:
    """All segments, oldest first per worker."""
    return sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []


def is_held(path: Path) -> bool:
    """Whether the worker that writes this segment is alive and still writing it."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def read_from(path: Path, offset: int, *, limit: int) -> tuple[list[Record | None], int]:
    """Up to `limit` whole lines from `offset`, and the offset after them.

    A line that cannot be read comes as None; one without its newline is left for the next time.
    """
    records: list[Record | None] = []
    with path.open("rb") as file:
        file.seek(offset)
        for line in _whole_lines(file.readline(MAX_RECORD_BYTES) for _ in iter(int, 1)):
            records.append(decode(line[:-1]))
            offset += len(line)
            if len(records) >= limit:
                break
    return records, offset


def _whole_lines(lines: Iterator[bytes]) -> Iterator[bytes]:
    for line in lines:
        if not line.endswith(b"\n"):
            return
        yield line
