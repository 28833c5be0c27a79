"""The journal's writer: one in each worker.

One segment per worker, held by a file lock for as long as the worker lives. Its space is reserved
when it starts and mapped: what is under way is a slot of the table at its head, what ended is a line
after it. The kernel has both at once, so a `kill -9` right after loses nothing (decision 006). Imports
no models: the lane writes here.
"""

import asyncio
import errno
import fcntl
import mmap
import os
from contextlib import suppress
from pathlib import Path
from zlib import crc32

import orjson

from usage.journal import table
from usage.journal.lines import CLOSING, LINE, Record, line_of
from usage.journal.segments import SUFFIX, size_of

SEGMENT_BYTES = 8 * 1024 * 1024
POPULATE_BYTES = 256 * 1024
_MADV_POPULATE_WRITE = 23  # Linux 5.14; Python has no name for it
MAX_NAMES = 20_000  # combinations that a worker keeps a number for
FINAL_BYTES = 1500  # the most that the last record of a request takes
SPARE_SHARE = 2  # what may be left out takes this part of the journal's bound at most
_put_slot, _put_number = table.SLOT.pack_into, table.NUMBER.pack_into


class JournalError(Exception):
    """The journal cannot be written: no space, no permission."""


class Named:
    """Who and what, as the records of a worker refer to it: by its number."""

    __slots__ = ("line", "number", "told_in")

    def __init__(self, number: int, names: bytes) -> None:
        self.number = number
        self.line = line_of(b'{"k":"d","w":%d,%b' % (number, names))
        self.told_in: _Segment | None = None  # the segment that says so already


class _Segment:
    """A file of reserved space, mapped and locked; what is not written yet is zeros.

    `left` is what lines may still take, less the room that is kept free for what ends all that is open.
    """

    __slots__ = ("_fd", "_populated", "left", "map", "n_bytes", "told", "used")

    def __init__(self, path: Path, n_bytes: int, n_slots: int) -> None:
        draft = path.with_suffix(".draft")
        self._fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(self._fd, 0, n_bytes)  # a full disk is an error here, never a SIGBUS
            self.map = mmap.mmap(self._fd, n_bytes)
            table.HEADER.pack_into(self.map, 0, table.MAGIC, n_slots)
            draft.rename(path)  # under its name only once locked, or a drain would take it for dead
        except OSError:
            os.close(self._fd)
            draft.unlink(missing_ok=True)
            raise
        self.used = table.size(n_slots)
        self.n_bytes = n_bytes
        self.left = n_bytes - self.used - len(CLOSING)
        self.told: list[Named] = []
        self._populated = self.used // mmap.PAGESIZE * mmap.PAGESIZE

    def append(self, line: bytes) -> None:
        end = self.used + len(line)
        if end > self._populated:
            self._populate(end)
        self.map[self.used : end] = line
        self.used = end
        self.left -= len(line)

    def tell(self, named: Named) -> None:
        self.append(named.line)
        self.told.append(named)
        named.told_in = self

    def _populate(self, end: int) -> None:
        """Have the kernel map the next pages at once: a fault for each costs six times as much."""
        start = self._populated
        pages = -(-max(end - start, POPULATE_BYTES) // mmap.PAGESIZE)
        self._populated = min(self.n_bytes, start + pages * mmap.PAGESIZE)
        with suppress(OSError):  # an older kernel faults them in one by one
            self.map.madvise(_MADV_POPULATE_WRITE, start, self._populated - start)

    def duplicate(self) -> int:
        """Another descriptor of the file, which outlives this object."""
        return os.dup(self._fd)

    def flush(self) -> None:
        """Have the disk hold what was written (a power cut)."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Give back the space that was not used, and the lock."""
        self.map.close()
        os.ftruncate(self._fd, self.used)
        os.close(self._fd)


class Journal:
    """Writes one worker's records. Not for use by two threads at once: the loop's thread writes.

    Every way of writing raises JournalError.
    """

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
        self.syncs = sync  # then `on_disk` takes a while, and is due before anything is said
        self._next_flush: asyncio.Future[None] | None = None
        self._flushing = asyncio.Lock()
        self._segment: _Segment | None = None
        self._serial = 0
        self._name = f"{os.getpid()}-{os.urandom(4).hex()}"
        self._n_slots = table.SLOTS
        self._free = table.offsets(0, self._n_slots)  # slots of the table that are not taken
        self._named: dict[bytes, Named] = {}
        self._next_number = 1
        self._is_late = False  # this segment was begun where half of the bound was used already

    def _start_segment(self, n_bytes: int, share: int = 1) -> _Segment:
        """A new segment with room for lines of `n_bytes`, and with what is still under way in it.

        The journal then has no more than that share of its bound.
        """
        n_slots = self._n_slots if self._free else 2 * self._n_slots
        before = self._segment
        carried = self._still_named(before) if before is not None else []
        owed = FINAL_BYTES * (self._n_slots - len(self._free))
        lines = sum(len(named.line) for named in carried)
        least = table.size(n_slots) + lines + n_bytes + owed + len(CLOSING)
        limit, wanted = self._limit_bytes, size_of(self._folder) + least
        if limit is not None and wanted > limit // share:
            raise OSError(errno.ENOSPC, "the journal has reached its bound")
        self._is_late = limit is not None and wanted > limit // SPARE_SHARE
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{self._name}-{self._serial:06d}{SUFFIX}"
        n_bytes = max(self._segment_bytes, least)
        segment = _Segment(path, -(-n_bytes // mmap.PAGESIZE) * mmap.PAGESIZE, n_slots)
        if self.syncs:
            _flush_and_close(os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC))  # the name, too
        self._serial += 1
        for named in carried:
            segment.tell(named)
        segment.left -= owed
        if before is not None:
            slots = slice(table.HEADER.size, table.size(self._n_slots))
            segment.map[slots] = before.map[slots]
            self._end_segment(before)
        self._free = table.offsets(self._n_slots, n_slots) + self._free
        self._segment, self._n_slots = segment, n_slots
        return segment

    def _still_named(self, segment: _Segment) -> list[Named]:
        """The names that what is under way refers to."""
        taken = set(table.offsets(0, self._n_slots)) - set(self._free)
        wanted = table.numbers(segment.map, taken)
        return [named for named in segment.told if named.number in wanted]

    def _end_segment(self, segment: _Segment) -> None:
        segment.append(CLOSING)
        if self.syncs:
            segment.flush()
        segment.close()

    async def on_disk(self) -> None:
        """Return once all that was written so far would outlive a power cut; at once without `sync`.

        Whoever asks while a flush is under way waits for the next one, all of them together.
        """
        if not self.syncs or self._segment is None:
            return
        if self._next_flush is None:
            self._next_flush = asyncio.ensure_future(self._flush())
        await asyncio.shield(self._next_flush)

    async def _flush(self) -> None:
        async with self._flushing:
            self._next_flush = None  # what is written from here on waits for another one
            if self._segment is not None:
                await asyncio.to_thread(_flush_and_close, self._segment.duplicate())

    def named(self, names: bytes) -> Named:
        """What `open` and `add` take for these names: JSON, without the brace that begins it."""
        found = self._named.get(names)
        if found is None:
            if len(self._named) >= MAX_NAMES:
                self._named.clear()
            found = self._named[names] = Named(self._next_number, names)
            self._next_number += 1
        return found

    def open(self, event_id: bytes, named: Named, correlation_id: bytes = b"") -> int:
        """Write down that a request is under way, and keep room for its end. The slot that says so."""
        segment = self._segment
        if (
            segment is None
            or named.told_in is not segment
            or segment.left < FINAL_BYTES
            or not self._free
        ):
            segment = self._with_room(FINAL_BYTES, named)
        slot = self._free.pop()
        segment.left -= FINAL_BYTES
        _put_slot(segment.map, slot, event_id, correlation_id, b"", named.number)
        return slot

    def note(self, slot: int, progress: bytes) -> None:
        """Write down how far a request is; that is what counts should this process be killed."""
        if self._segment is None:  # closed: the drain settles what is under way
            return
        at = slot + table.PROGRESS_AT
        self._segment.map[at : at + len(progress)] = progress

    def end(self, slot: int, body: bytes) -> None:
        """The last record of what is in `slot`; it was admitted with the room for it (S-53)."""
        segment = self._segment
        if segment is None:
            raise JournalError("it is closed")
        segment.append(LINE % (crc32(body), body))  # line_of, without the call
        _put_number(segment.map, slot + table.NUMBER_AT, 0)
        segment.left += FINAL_BYTES
        self._free.append(slot)

    def add(self, body: bytes, named: Named | None = None) -> None:
        """A record of something that was never under way, as JSON; `named` is what it refers to."""
        line = line_of(body)
        segment = self._segment
        if (
            segment is None
            or segment.left < len(line)
            or (named is not None and named.told_in is not segment)
        ):
            segment = self._with_room(len(line), named)
        segment.append(line)

    def add_spare(self, body: bytes) -> None:
        """A record, as JSON, that may be left out: it never takes the room that usage needs.

        Raises JournalError where half of the bound is used.
        """
        line = line_of(body)
        segment = self._segment
        if self._is_late:
            self._look_again()
        if segment is None or segment.left < len(line):
            try:
                segment = self._start_segment(len(line), SPARE_SHARE)
            except OSError as exc:
                raise JournalError(str(exc)) from exc
        segment.append(line)

    def _look_again(self) -> None:
        """Whether a drain has made room. Raises JournalError where it has not."""
        limit = self._limit_bytes
        if limit is not None and size_of(self._folder) > limit // SPARE_SHARE:
            raise JournalError("the rest of the journal's bound is for usage")
        self._is_late = False

    def write(self, record: Record) -> None:
        """A record with all its names in it."""
        self.add(orjson.dumps(record))

    def _with_room(self, n_bytes: int, named: Named | None) -> _Segment:
        """A segment that has `n_bytes` left and a free slot, and says what `named` stands for."""
        segment = self._segment
        n_names = len(named.line) if named is not None else 0
        untold = n_names if named is not None and named.told_in is not segment else 0
        if segment is None or segment.left < n_bytes + untold or not self._free:
            try:
                segment = self._start_segment(n_bytes + n_names)
            except OSError as exc:
                raise JournalError(str(exc)) from exc
        if named is not None and named.told_in is not segment:
            segment.tell(named)
        return segment

    def close(self) -> None:
        """End the last segment; what is still under way is settled by the drain."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None


def _flush_and_close(fd: int) -> None:
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
