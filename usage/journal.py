"""The append-only journal between the inference path and the database (docs/journal.md).

One segment per worker, held by a file lock for as long as the worker lives. Its space is reserved
when it starts, and a record is one line copied into its shared mapping: the kernel has it then, so a
`kill -9` right after it loses nothing (decision 006). Imports no models: the lane writes here.
"""

import asyncio
import errno
import fcntl
import mmap
import os
import re
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

VERSION = b"1"
SEGMENT_BYTES = 8 * 1024 * 1024
BLOCK_BYTES = 256 * 1024
POPULATE_BYTES = 256 * 1024
_MADV_POPULATE_WRITE = 23  # Linux 5.14; Python has no name for it
MAX_NAMES = 20_000  # combinations that a worker keeps a number for
FINAL_EXTRA_BYTES = 256  # a final record is at most so much longer than the open one
SUFFIX = ".journal"
OPEN, PROGRESS, FINAL, CLOSED, RESPONSE, NAMES = "o", "p", "f", "c", "r", "d"

Record = dict[str, Any]
_STILL_OPEN = (b'{"k":"o",', b'{"k":"p",')
_UNREAD: Record = {"k": OPEN}
_NAMES_LINE = re.compile(rb'^1 [0-9a-f]{8} \{"k":"d",[^\n]*', re.MULTILINE)


class JournalError(Exception):
    """The journal cannot be written: no space, no permission."""


def encode(record: Record) -> bytes:
    """`1 <crc32 of the JSON, 8 hex> <JSON>`, ended by a newline."""
    return line_of(orjson.dumps(record))


def line_of(body: bytes) -> bytes:
    """The line of a record that is JSON already."""
    return b"1 %08x %b\n" % (zlib.crc32(body), body)


def decode(line: bytes, *, ended: bool = False) -> Record | None:
    """The record of one line without its newline, or None where it is torn or not ours.

    Where only what has `ended` is of interest, an open record comes without its fields.
    """
    version, _, rest = line.partition(b" ")
    checksum, _, body = rest.partition(b" ")
    if version != VERSION or len(checksum) != 8:
        return None
    try:
        if int(checksum, 16) != zlib.crc32(body):
            return None
        if ended and body.startswith(_STILL_OPEN):
            return _UNREAD
        record = orjson.loads(body)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _numbered(head: bytes, number: int) -> bytes:
    return line_of(b'%b"w":%d}' % (head, number))


_CLOSING = encode({"k": CLOSED})


class _Segment:
    """A file of reserved space, mapped and locked; what is not written yet is zeros."""

    __slots__ = ("_fd", "_map", "_populated", "n_bytes", "used")

    def __init__(self, path: Path, n_bytes: int) -> None:
        draft = path.with_suffix(".draft")
        self._fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(self._fd, 0, n_bytes)  # a full disk is an error here, never a SIGBUS
            self._map = mmap.mmap(self._fd, n_bytes)
            draft.rename(path)  # under its name only once locked, or a drain would take it for dead
        except OSError:
            os.close(self._fd)
            draft.unlink(missing_ok=True)
            raise
        self.used = self._populated = 0
        self.n_bytes = n_bytes

    def append(self, line: bytes) -> None:
        end = self.used + len(line)
        if end > self._populated:
            self._populate(end)
        self._map[self.used : end] = line
        self.used = end

    def _populate(self, end: int) -> None:
        """Have the kernel map the next pages at once: a fault for each costs six times as much."""
        start = self._populated
        pages = -(-max(end - start, POPULATE_BYTES) // mmap.PAGESIZE)
        self._populated = min(self.n_bytes, start + pages * mmap.PAGESIZE)
        with suppress(OSError):  # an older kernel faults them in one by one
            self._map.madvise(_MADV_POPULATE_WRITE, start, self._populated - start)

    def duplicate(self) -> int:
        """Another descriptor of the file, which outlives this object."""
        return os.dup(self._fd)

    def flush(self) -> None:
        """Have the disk hold what was written (a power cut)."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Give back the space that was not used, and the lock."""
        self._map.close()
        os.ftruncate(self._fd, self.used)
        os.close(self._fd)


class Journal:
    """Writes one worker's records. Not for use by two threads at once: the loop's thread writes."""

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        limit_bytes: int | None = None,
        sync: bool = False,
    ) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._limit_bytes = limit_bytes
        self._sync = sync
        self._next_flush: asyncio.Future[None] | None = None
        self._flushing = asyncio.Lock()
        self._segment: _Segment | None = None
        self._serial = 0
        self._name = f"{os.getpid()}-{os.urandom(4).hex()}"
        self._open: dict[str, tuple[bytes, int]] = {}  # line, number of its names
        self._owed = len(_CLOSING)  # room kept free for what ends all that is open
        self._numbers: dict[bytes, int] = {}
        self._named: dict[int, bytes] = {}  # number, line that says what it stands for
        self._told: set[int] = set()  # numbers that this segment says already
        self._next_number = 1

    def _start_segment(self, n_bytes: int) -> _Segment:
        """A new segment with room for `n_bytes`, and with what is still under way in it."""
        told = {number for _, number in self._open.values() if number}
        carried = b"".join(self._named[number] for number in sorted(told))
        carried += b"".join(line for line, _ in self._open.values())
        least = len(carried) + n_bytes + self._owed
        if self._limit_bytes is not None and size_of(self._folder) + least > self._limit_bytes:
            raise OSError(errno.ENOSPC, "the journal has reached its bound")
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{self._name}-{self._serial:06d}{SUFFIX}"
        n_bytes = max(self._segment_bytes, least)
        segment = _Segment(path, -(-n_bytes // mmap.PAGESIZE) * mmap.PAGESIZE)
        if self._sync:
            _flush_and_close(os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC))  # the name, too
        self._serial += 1
        segment.append(carried)
        if self._segment is not None:
            self._segment.append(_CLOSING)
            if self._sync:
                self._segment.flush()
            self._segment.close()
        self._segment, self._told = segment, told
        return segment

    async def on_disk(self) -> None:
        """Return once all that was written so far would outlive a power cut; at once without `sync`.

        Whoever asks while a flush is under way waits for the next one, all of them together.
        """
        if not self._sync or self._segment is None:
            return
        if self._next_flush is None:
            self._next_flush = asyncio.ensure_future(self._flush())
        await asyncio.shield(self._next_flush)

    async def _flush(self) -> None:
        async with self._flushing:
            self._next_flush = None  # what is written from here on waits for another one
            if self._segment is not None:
                await asyncio.to_thread(_flush_and_close, self._segment.duplicate())

    def write(self, record: Record) -> None:
        """Append one record as it is, names and all. Every way of writing raises JournalError."""
        kind, event_id, line = record["k"], record["id"], encode(record)
        if kind in {OPEN, PROGRESS}:
            self._keep_open(event_id, line, 0)
        elif kind == FINAL:
            self._end(event_id, line, 0)
        else:
            self._append(line, 2 * len(line) + self._owed)

    def open(self, event_id: str, head: bytes, names: bytes) -> None:
        """Append what a request is admitted with, and keep room for its end.

        `head` is the record up to its names, `names` what they are, both JSON without the brace that
        ends or begins them. A segment says names once and refers to them by number from then on.
        """
        number = self._numbers.get(names) or self._give_number(names)
        self._keep_open(event_id, _numbered(head, number), number)

    def note(self, event_id: str, head: bytes) -> None:
        """Append how far an open request is; that is what counts should this process be killed."""
        number = self._open[event_id][1]
        self._keep_open(event_id, _numbered(head, number), number)

    def end(self, event_id: str, head: bytes, names: bytes) -> None:
        """Append the last word on a request. What was admitted has the room for it (S-53)."""
        before = self._open.get(event_id)
        number = before[1] if before else self._numbers.get(names) or self._give_number(names)
        self._end(event_id, _numbered(head, number), number)

    def _give_number(self, names: bytes) -> int:
        if len(self._numbers) >= MAX_NAMES:
            kept = {number for _, number in self._open.values()}
            self._numbers.clear()
            self._named = {number: self._named[number] for number in kept if number}
        number = self._numbers[names] = self._next_number
        self._next_number += 1
        self._named[number] = line_of(b'{"k":"d","w":%d,%b' % (number, names))
        return number

    def _keep_open(self, event_id: str, line: bytes, number: int) -> None:
        before = self._open.get(event_id)
        owed = len(line) + FINAL_EXTRA_BYTES
        self._append(line, len(line) + owed + self._owed, number)
        self._open[event_id] = (line, number)
        self._owed += owed - (len(before[0]) + FINAL_EXTRA_BYTES if before else 0)

    def _end(self, event_id: str, line: bytes, number: int) -> None:
        before = self._open.get(event_id)
        # what was not opened here has none kept free
        self._append(line, len(line) if before else 2 * len(line) + self._owed, number)
        if before:
            del self._open[event_id]
            self._owed -= len(before[0]) + FINAL_EXTRA_BYTES

    def _append(self, line: bytes, room: int, number: int = 0) -> None:
        """The line, and before it what its number stands for where this segment does not say so yet."""
        names = self._untold(number)
        segment = self._segment
        if segment is None or segment.used + len(names) + room > segment.n_bytes:
            try:
                segment = self._start_segment(room + len(self._named.get(number, b"")))
            except OSError as exc:
                raise JournalError(str(exc)) from exc
            names = self._untold(number)
        if names:
            segment.append(names)
            self._told.add(number)
        segment.append(line)

    def _untold(self, number: int) -> bytes:
        return self._named[number] if number and number not in self._told else b""

    def close(self) -> None:
        """End the segment in good order; what is still open is settled by the drain."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None


def _flush_and_close(fd: int) -> None:
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


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


def was_closed(path: Path) -> bool:
    """Whether the segment was ended in good order: its open records moved to the next one."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(_CLOSING)))
        return file.read() == _CLOSING


def read_from(
    path: Path, offset: int, *, limit: int, held: bool = False, ended: bool = False
) -> tuple[list[Record | None], int]:
    """Up to `limit` whole lines from `offset`, and the offset after them.

    `ended` as in `decode`. A line that cannot be read comes as None. One without its newline is left
    for the next time. Of a segment that is `held`, nothing from the first unreadable line on is given:
    it was under the writer's hands while it was copied here, and whatever follows is younger still.
    """
    records: list[Record | None] = []
    ends: list[int] = []
    begun_at = offset
    with path.open("rb") as file:
        file.seek(offset)
        rest = b""
        while len(records) < limit and (block := file.read(BLOCK_BYTES)):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines[: limit - len(records)]:
                offset += len(line) + 1
                records.append(decode(line, ended=ended))
                ends.append(offset)
            if rest[:1] == b"\0":  # reserved, not written yet
                break
    if held and None in records:
        first = records.index(None)
        del records[first:], ends[first:]
    return records, ends[-1] if ends else begun_at


class Names:
    """What the numbers of one segment stand for, as far as it was read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_to = 0
        self._known: dict[int, Record] = {}

    def read_up_to(self, offset: int) -> None:
        """Take what the segment says before `offset`; only what is new since the last time is read."""
        if offset <= self._read_to:
            return
        with self._path.open("rb") as file:
            file.seek(self._read_to)
            for found in _NAMES_LINE.finditer(file.read(offset - self._read_to)):
                self.take(decode(found[0]))
        self._read_to = offset

    def take(self, record: Record | None) -> None:
        """A record that was read; what it says of names is kept."""
        if record is not None and record.get("k") == NAMES:
            self._known[record.get("w", 0)] = record

    def was_read_to(self, offset: int) -> None:
        """Everything before `offset` went through `take`."""
        self._read_to = max(self._read_to, offset)

    def whole(self, record: Record) -> Record:
        """The record with its names; as it is where it has them itself, or nobody knows them."""
        known = self._known.get(record.get("w", 0))
        return record if known is None else {**known, **record}


def size_of(folder: Path) -> int:
    """The bytes that all segments take on the disk."""
    total = 0
    for path in segments(folder):
        with suppress(FileNotFoundError):  # drained meanwhile
            total += path.stat().st_blocks * 512
    return total
