"""The journal as its readers see it: the files of one folder, each a segment of a worker."""

import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path

from usage.journal import table
from usage.journal.lines import CLOSING, NAMES, Record, decode

BLOCK_BYTES = 256 * 1024
SUFFIX = ".journal"
_NAMES_LINE = re.compile(rb'^1 [0-9a-f]+ \{"k":"d",[^\n]*', re.MULTILINE)


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
        file.seek(max(0, path.stat().st_size - len(CLOSING)))
        return file.read() == CLOSING


def read_from(
    path: Path, offset: int, *, limit: int, held: bool = False
) -> tuple[list[Record | None], int]:
    """Up to `limit` whole lines from `offset` (0: the first one), and the offset after them.

    A line that cannot be read comes as None. One without its newline is left
    for the next time. Of a segment that is `held`, nothing from the first unreadable line on is given:
    it was under the writer's hands while it was copied here, and whatever follows is younger still.
    """
    records: list[Record | None] = []
    ends: list[int] = []
    with path.open("rb") as file:
        offset = begun_at = offset or table.lines_at(file)
        file.seek(offset)
        rest = b""
        while len(records) < limit and (block := file.read(BLOCK_BYTES)):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines[: limit - len(records)]:
                offset += len(line) + 1
                records.append(decode(line))
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
            begin = self._read_to or table.lines_at(file)
            file.seek(begin)
            for found in _NAMES_LINE.finditer(file.read(max(0, offset - begin))):
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
