"""An engine's log on disk (R-13, R-23): numbered JSON lines, one writer, any number of readers.

`logs/engines/NAME-HASH/` holds the model's name and segments. A segment is named by the number of
its first line, and the numbers in it follow each other without a gap, so a reader finds a line by
counting and never parses one. The oldest segments go when there are too many; a clear begins a new
segment and takes the others out, and the numbers go on.
"""

import hashlib
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import orjson

from core.files import exclusive
from core.redaction import redacted

SEGMENT_BYTES, MAX_SEGMENTS = 1024 * 1024, 20
MAX_LINES = 1000
READ_BYTES = 256 * 1024
MAX_TEXT = 4096
LOCK_S = 5.0


class FellBehindError(Exception):
    """Lines that a reader still wanted are gone: it read slower than the log was taken out."""


def log_folder(data_path: Path, model: str) -> Path:
    """Where the log of a model is; names may hold a slash and be long."""
    mark = hashlib.sha256(model.encode()).hexdigest()[:8]
    return logs_root(data_path) / f"{quote(model, safe='')[:100]}-{mark}"


def logs_root(data_path: Path) -> Path:
    return data_path / "logs" / "engines"


def logged_models(data_path: Path) -> list[str]:
    """The names of the models that have a log, sorted."""
    names = []
    for path in logs_root(data_path).glob("*/name"):
        try:
            names.append(path.read_text())
        except OSError:
            continue
    return sorted(names)


def segments(folder: Path) -> list[tuple[int, Path]]:
    """(number of the first line, path) of every segment, the oldest first."""
    return sorted((int(path.stem), path) for path in folder.glob("*.jsonl") if path.stem.isdigit())


def newest(folder: Path) -> int:
    """The number of the last line that was written, 0 where there never was one."""
    found = segments(folder)
    if not found:
        return 0
    first, path = found[-1]
    try:
        return first + path.read_bytes().count(b"\n") - 1
    except OSError:  # it was taken out this moment
        return first - 1


def clear(folder: Path) -> None:
    """Take every line out; the next one gets the next number."""
    if not folder.is_dir():
        return
    with exclusive(folder / "lock", timeout_s=LOCK_S):
        begun = _segment(folder, newest(folder) + 1)
        begun.touch(mode=0o600)
        for _, path in segments(folder):
            if path != begun:
                path.unlink(missing_ok=True)


def _segment(folder: Path, first: int) -> Path:
    return folder / f"{first:015d}.jsonl"


class LogWriter:
    """The one writer of a log. `write` may be called by several threads of its process."""

    def __init__(self, folder: Path, model: str) -> None:
        self._folder = folder
        self._model = model
        self._thread_lock = threading.Lock()
        self._fd = -1
        self._next = 1
        self._size = 0

    def write(self, lines: Iterable[tuple[str, str, str]], *, replica: int = 0) -> None:
        """Append (timestamp, stream, text)s of one engine of the model; those of the first bear no
        `replica`. Raises OSError where the disk has no room for them, AlreadyHeldError where
        somebody clears the log for seconds.
        """
        whose = {"replica": replica} if replica else {}
        with self._thread_lock, exclusive(self._folder / "lock", timeout_s=LOCK_S):
            if self._fd < 0 or os.fstat(self._fd).st_nlink == 0:  # new, or cleared meanwhile
                self._open()
            raw, seq = b"", self._next
            for timestamp, stream, text in lines:
                line = {"timestamp": timestamp, "stream": stream, "text": shown(text), "seq": seq}
                line |= whose
                raw += orjson.dumps(line) + b"\n"
                seq += 1
            self._append(raw)
            self._next = seq
            if self._size >= SEGMENT_BYTES:
                self._begin(self._next)

    def _append(self, raw: bytes) -> None:
        try:
            written = os.write(self._fd, raw)
            if written < len(raw):
                raise OSError(28, "No space left on device")
        except OSError:
            os.ftruncate(self._fd, self._size)  # no half a line stays
            raise
        self._size += len(raw)

    def _open(self) -> None:
        """Go on where the log ends; half a line of a writer that was killed is taken out."""
        (self._folder / "name").write_text(self._model)
        found = segments(self._folder)
        if not found:
            self._begin(1)
            return
        first, path = found[-1]
        self._use(path)
        content = path.read_bytes()
        self._size = content.rfind(b"\n") + 1
        os.ftruncate(self._fd, self._size)
        self._next = first + content.count(b"\n")

    def _begin(self, first: int) -> None:
        self._use(_segment(self._folder, first))
        self._next, self._size = first, 0
        for _, path in segments(self._folder)[:-MAX_SEGMENTS]:
            path.unlink(missing_ok=True)

    def _use(self, path: Path) -> None:
        self.close()
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def shown(text: str) -> str:
    """A line as it is kept: without credentials, cut where it is too long."""
    text = redacted(text)
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"


class Cursor:
    """Reads a log from a place on: never a line twice, and none left out that is still kept.

    `after` is the number of the last line that the reader has. Without it, and where it is ahead of
    the log (of another server, or of one whose log was thrown away), the last MAX_LINES come.
    """

    def __init__(self, folder: Path, after: int | None = None) -> None:
        self._folder = folder
        last = newest(folder)
        if after is None or after > last:
            after = max(0, last - MAX_LINES)
        self._next = after + 1
        self._first = 0
        self._fd = -1
        self._offset = 0
        self._lock = threading.Lock()  # a reader may be closed while a thread still reads for it
        self._is_closed = False

    def has_news(self) -> bool:
        """Whether `read` could find something: two looks at the file system, no reading.

        A segment that is at its end is followed by one that begins with the next number; one that
        was taken out may be followed by any. (The folder's own time is too coarse to go by.)
        """
        if self._fd < 0:
            return self._folder.exists()
        found = os.fstat(self._fd)
        if found.st_size > self._offset or found.st_nlink == 0:
            return True
        return self._next > self._first and _segment(self._folder, self._next).exists()

    def read(self, limit: int = MAX_LINES) -> list[bytes]:
        """The next lines as JSON, `limit` at most; none once it is closed. Raises FellBehindError."""
        with self._lock:
            return [] if self._is_closed else self._read(limit)

    def _read(self, limit: int) -> list[bytes]:
        if self._fd < 0 and not self._find_place():
            return []
        lines = self._take(limit)
        while not lines:
            later = next((s for s in segments(self._folder) if s[0] > self._first), None)
            if later is None:
                return self._take(limit) or self._none_or_begun_anew()
            lines = self._take(limit)  # what came between the first look and the next segment
            if not lines:
                self._move_to(*later)
                lines = self._take(limit)
        return lines

    def _none_or_begun_anew(self) -> list[bytes]:
        """Nothing new. Raises FellBehindError where the log began anew, as after a reinstallation."""
        is_gone = os.fstat(self._fd).st_nlink == 0
        if is_gone and any(first <= self._first for first, _ in segments(self._folder)):
            raise FellBehindError
        return []

    def _find_place(self) -> bool:
        """Open the segment that has the next line, else the oldest."""
        found = segments(self._folder)
        if not found:
            return False
        first, path = next((s for s in reversed(found) if s[0] <= self._next), found[0])
        wanted = self._next
        self._next = first
        self._move_to(first, path)
        while self._next < wanted and self._take(min(MAX_LINES, wanted - self._next)):
            pass
        return True

    def _move_to(self, first: int, path: Path) -> None:
        if first > self._next:
            raise FellBehindError
        self._let_go()
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as exc:
            raise FellBehindError from exc
        self._first, self._offset = first, 0

    def _take(self, limit: int) -> list[bytes]:
        raw = os.pread(self._fd, READ_BYTES, self._offset)
        lines = raw[: raw.rfind(b"\n") + 1].split(b"\n", limit)
        del lines[limit:]
        if lines and not lines[-1]:
            lines.pop()
        self._offset += sum(map(len, lines)) + len(lines)
        self._next += len(lines)
        return lines

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            self._let_go()

    def _let_go(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def last_lines(folder: Path, after: int | None = None, limit: int = MAX_LINES) -> list[bytes]:
    """Lines of a log as JSON: the last ones, or those that follow number `after`."""
    cursor = Cursor(folder, after)
    lines: list[bytes] = []
    try:
        while len(lines) < limit and (more := cursor.read(limit - len(lines))):
            lines += more
    except FellBehindError:
        pass
    finally:
        cursor.close()
    return lines
