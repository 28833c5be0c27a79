"""The layout of one rule's counters in a file, its lock, and how such a file comes to be.

All is 8-byte integers: a header, 512 entries of processes with live holds, and a ring of 362 buckets
(requests, tokens, cost, and those of the requests that are still open, which a refill needs).
What lies outside the window is 0.
"""

import fcntl
import os
import time
from pathlib import Path
from struct import Struct

from usage.quotas.terms import HOLD_S, CountersAwayError, CountersBusyError
from usage.quotas.window import Cells, Window

FORMAT = int.from_bytes(b"GHQUOTA1", "little")  # the last figure is the layout's version
RING, PROCESSES = 362, 512
# The header. LIVE and what is HELD are sums over the entries, those before them over the window.
(
    MAGIC, WINDOW, DIRTY, HEAD,
    REQUESTS, TOKENS, COST, LIVE, HELD_TOKENS, HELD_COST, NEWEST_REQUESTS, NEWEST_TOKENS,
    NEXT_EXPIRY, USED,
) = range(14)  # fmt: skip
# An entry: its token (0: free), the last beat in microseconds, and what is held.
ENTRIES, ENTRY = 32, 5
BEAT, ENTRY_LIVE, ENTRY_TOKENS, ENTRY_COST = range(1, ENTRY)
RING_START = ENTRIES + ENTRY * PROCESSES
RING_REQUESTS, RING_TOKENS, RING_COST, RING_OPEN = (RING_START + RING * i for i in range(4))
CELLS = RING_START + 4 * RING
SIZE = 8 * CELLS
CLEAN, CHANGING, FILLING = 0, 1, 2  # values of DIRTY
NEVER = 2**62
HOLD_US = int(HOLD_S * 1_000_000)
CONTENTS = Struct("=8q")  # from REQUESTS on
_YIELDS, _PAUSE_S = 40, 0.000_05


def lock_by(fd: int, deadline: float) -> None:
    """Lock an open file; CountersBusyError where another process still has it at `deadline`."""
    tries = 0
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise CountersBusyError("the counters are locked by another process") from None
        tries += 1
        if tries < _YIELDS:  # it is held for microseconds, unless its holder was put off the CPU
            os.sched_yield()
        else:
            time.sleep(_PAUSE_S)


def packed(values: list[int]) -> bytes:
    return Struct(f"={len(values)}q").pack(*values)


def write_new(path: Path, window: Window, head: int, cells: Cells) -> None:
    """Put a file with these cells at `path` at once. Callers exclude each other.

    Raises OSError: a full disk is one here, never a SIGBUS later.
    """
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    values = [0] * CELLS
    values[MAGIC], values[WINDOW], values[HEAD] = FORMAT, window.seconds, head
    values[DIRTY] = CHANGING  # the sums are made by whoever opens it
    for bucket, amounts in cells.items():
        for start, amount in zip((RING_REQUESTS, RING_TOKENS, RING_COST), amounts, strict=True):
            values[start + bucket % RING] = amount
    fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, SIZE)
        os.pwrite(fd, packed(values), 0)
        draft.replace(path)
    finally:
        os.close(fd)
        draft.unlink(missing_ok=True)


def is_sound(path: Path, window: Window) -> bool:
    """Whether the file at `path` has whole counters of that window."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise CountersAwayError(str(exc)) from exc
    try:
        if os.fstat(fd).st_size != SIZE:
            return False
        magic, seconds, dirty = Struct("=3q").unpack(os.pread(fd, 24, 0))
    finally:
        os.close(fd)
    return bool(magic == FORMAT and seconds == window.seconds and dirty != FILLING)


def retire(path: Path, deadline: float) -> None:
    """Tell all who have the file at `path` open that it is no longer the one of its rule.

    Raises CountersAwayError where it stays locked until `deadline` (monotonic), and OSError.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        lock_by(fd, deadline)
        if os.fstat(fd).st_size == SIZE:
            os.pwrite(fd, bytes(8), 8 * MAGIC)
    finally:
        os.close(fd)
