"""One rule's counters in a small mapped file, and every change of them.

Whoever changes anything holds the file's lock and raises the dirty flag meanwhile: where a kill
leaves it raised, the next one sums up anew from the ring and the entries.
"""

import fcntl
import mmap
import os
import secrets
from contextlib import suppress
from pathlib import Path

from usage.quotas.counter_layout import (
    BEAT,
    CHANGING,
    CLEAN,
    CONTENTS,
    COST,
    DIRTY,
    ENTRIES,
    ENTRY,
    ENTRY_COST,
    ENTRY_LIVE,
    ENTRY_TOKENS,
    FILLING,
    FORMAT,
    HEAD,
    HELD_COST,
    HELD_TOKENS,
    HOLD_US,
    LIVE,
    MAGIC,
    NEVER,
    NEWEST_REQUESTS,
    NEWEST_TOKENS,
    NEXT_EXPIRY,
    PROCESSES,
    REQUESTS,
    RING,
    RING_COST,
    RING_OPEN,
    RING_REQUESTS,
    RING_START,
    RING_TOKENS,
    SIZE,
    TOKENS,
    USED,
    WINDOW,
    lock_by,
    packed,
)
from usage.quotas.terms import MOST, CountersAwayError, CountersMissingError
from usage.quotas.window import Cells, Contents, Window

_COLUMNS = ((RING_REQUESTS, REQUESTS), (RING_TOKENS, TOKENS), (RING_COST, COST))


class CounterFile:
    """The mapped file of one rule. All but `__init__`, `lock`, `close` want the lock held.

    Raises CountersMissingError where there is none of this layout, OSError where it cannot be
    opened.
    """

    __slots__ = ("_cells", "_fd", "_map", "is_locked", "window")

    def __init__(self, path: Path, window: Window) -> None:
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise CountersMissingError(path.name) from None
        try:
            if os.fstat(self._fd).st_size != SIZE:
                raise CountersMissingError(path.name)
            self._map = mmap.mmap(self._fd, SIZE)
        except BaseException:
            os.close(self._fd)
            raise
        self._cells = memoryview(self._map).cast("q")
        self.window = window
        self.is_locked = False

    def lock(self, deadline: float) -> bool:
        """Take the lock. False, and no lock, where the file is not (or no longer) the rule's.

        Raises CountersBusyError at `deadline` (monotonic).
        """
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock_by(self._fd, deadline)
        self.is_locked = True
        # Reading a mapped file that somebody has cut short would end the process; in one that
        # somebody has removed, others would not see what is counted.
        state = os.fstat(self._fd)
        if state.st_size == SIZE and state.st_nlink:
            cells = self._cells
            if cells[MAGIC] == FORMAT and cells[WINDOW] == self.window.seconds:
                return True
        self.unlock()
        return False

    def unlock(self) -> None:
        self.is_locked = False
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        with suppress(BufferError):  # after a fork: another thread's frame may have it still
            self._cells.release()
            self._map.close()
        os.close(self._fd)

    def is_whole(self) -> bool:
        """False where whoever filled it was killed over it: its ring is worth nothing."""
        return self._cells[DIRTY] != FILLING

    def ready(self, now: float) -> bool:
        """Repair what a kill left, move the window on to `now`, and drop holds of the dead.

        False where only `refill` helps.
        """
        cells = self._cells
        if cells[DIRTY] != CLEAN:
            if cells[DIRTY] == FILLING:
                return False
            self._sum_up()
        bucket = self.window.bucket(now)
        if bucket > cells[HEAD]:
            self._roll(bucket)
        if now * 1_000_000 >= cells[NEXT_EXPIRY]:
            self._expire(int(now * 1_000_000))
        return True

    def contents(self) -> Contents:
        return Contents._make(CONTENTS.unpack_from(self._map, 8 * REQUESTS))

    def column(self, number: int) -> list[tuple[int, int]]:
        """The buckets of the window with their requests (0), tokens (1) or cost (2), oldest first."""
        start = _COLUMNS[number][0]
        values = self._cells[start : start + RING].tolist()
        oldest = self._cells[HEAD] - self.window.buckets
        turned = values[oldest % RING :] + values[: oldest % RING]
        return list(enumerate(turned[: self.window.buckets + 1], oldest))

    def is_claimed(self, slot: int, token: int) -> bool:
        return self._cells[ENTRIES + slot * ENTRY] == token

    def claim(self, now_us: int) -> tuple[int, int]:
        """An entry for this process: its place and the token that says it is ours.

        Raises CountersAwayError where 512 processes have live holds.
        """
        cells = self._cells
        used = cells[USED]
        end = ENTRIES + used * ENTRY
        tokens = cells[ENTRIES:end:ENTRY].tolist()
        if 0 in tokens:
            slot = tokens.index(0)
        elif used < PROCESSES:
            slot = used
        else:
            live = cells[ENTRIES + ENTRY_LIVE : end : ENTRY].tolist()
            if 0 not in live:
                raise CountersAwayError("too many processes have live holds")
            slot = live.index(0)
        entry = ENTRIES + slot * ENTRY
        token = secrets.randbits(62) + 1
        cells[DIRTY] = CHANGING
        cells[entry + BEAT] = now_us
        cells[entry + ENTRY_LIVE] = cells[entry + ENTRY_TOKENS] = cells[entry + ENTRY_COST] = 0
        cells[entry] = token
        cells[USED] = max(used, slot + 1)
        cells[NEXT_EXPIRY] = min(cells[NEXT_EXPIRY], now_us + HOLD_US)
        cells[DIRTY] = CLEAN
        return slot, token

    def beat(self, slot: int, token: int, now_us: int) -> int:
        """Refresh the holds of an entry; how many there are, 0 where it is no longer ours."""
        cells = self._cells
        entry = ENTRIES + slot * ENTRY
        if cells[entry] != token:
            return 0
        # The clock may have gone back: then the next expiry comes sooner than was known.
        cells[NEXT_EXPIRY] = min(cells[NEXT_EXPIRY], now_us + HOLD_US)
        cells[entry + BEAT] = now_us
        return cells[entry + ENTRY_LIVE]

    def take(self, slot: int, now: float, tokens: int, cost: int) -> int:
        """Count a request and hold for it; the bucket that it was counted in."""
        cells = self._cells
        # Where the clock went back, the oldest bucket still leaves later than the one asked for.
        bucket = max(self.window.bucket(now), cells[HEAD] - self.window.buckets)
        now_us = int(now * 1_000_000)
        entry = ENTRIES + slot * ENTRY
        i = bucket % RING
        cells[DIRTY] = CHANGING
        # The entry first: a kill in between leaves a hold that expires, not a request of nobody.
        cells[entry + BEAT] = now_us
        cells[entry + ENTRY_LIVE] += 1
        cells[LIVE] += 1
        if tokens:
            cells[entry + ENTRY_TOKENS] += tokens
            cells[HELD_TOKENS] += tokens
        if cost:
            cells[entry + ENTRY_COST] += cost
            cells[HELD_COST] += cost
        cells[NEXT_EXPIRY] = min(cells[NEXT_EXPIRY], now_us + HOLD_US)
        cells[RING_OPEN + i] += 1
        cells[RING_REQUESTS + i] += 1
        cells[REQUESTS] += 1
        cells[NEWEST_REQUESTS] = max(cells[NEWEST_REQUESTS], bucket)
        cells[DIRTY] = CLEAN
        return bucket

    def settle(
        self,
        entry: tuple[int, int],
        bucket: int,
        held: tuple[int, int],
        used: tuple[int, int] | None,
    ) -> None:
        """End a hold of (tokens, cost) admitted in `bucket`, and add there what was used.

        None takes the request back. A hold that has expired is not given back again, and a bucket
        that has left the window takes nothing.
        """
        cells = self._cells
        place = ENTRIES + entry[0] * ENTRY
        is_live = cells[place] == entry[1]
        head = cells[HEAD]
        if bucket >= head - self.window.buckets:
            if used is None:
                self.add(bucket, -1, 0, 0)
            else:
                self.add(bucket, 0, *used)
            i = RING_OPEN + min(bucket, head) % RING
            if is_live and cells[i]:
                cells[i] -= 1
        if is_live:
            cells[DIRTY] = CHANGING
            cells[place + ENTRY_LIVE] -= 1
            cells[LIVE] -= 1
            if held[0]:
                cells[place + ENTRY_TOKENS] -= held[0]
                cells[HELD_TOKENS] -= held[0]
            if held[1]:
                cells[place + ENTRY_COST] -= held[1]
                cells[HELD_COST] -= held[1]
            cells[DIRTY] = CLEAN

    def add(self, bucket: int, requests: int, tokens: int, cost: int) -> None:
        """Add to `bucket`, or to the nearest one of the window. No cell goes below 0."""
        cells = self._cells
        head = cells[HEAD]
        bucket = max(head - self.window.buckets, min(bucket, head))
        i = bucket % RING
        cells[DIRTY] = CHANGING
        if tokens:
            self._change(RING_TOKENS + i, TOKENS, tokens)
            self._note_newest(RING_TOKENS, NEWEST_TOKENS, bucket)
        if cost:
            self._change(RING_COST + i, COST, cost)
        if requests:
            self._change(RING_REQUESTS + i, REQUESTS, requests)
            self._note_newest(RING_REQUESTS, NEWEST_REQUESTS, bucket)
        cells[DIRTY] = CLEAN

    def _change(self, cell: int, total: int, amount: int) -> None:
        cells = self._cells
        before, total_before = cells[cell], cells[total]
        if amount > MOST - total_before:
            amount = MOST - total_before
        elif amount < -before:
            amount = -before
        cells[cell] = before + amount
        cells[total] = total_before + amount

    def _note_newest(self, column: int, newest: int, changed: int) -> None:
        cells = self._cells
        known = cells[newest]
        if changed > known:
            if cells[column + changed % RING]:
                cells[newest] = changed
        elif changed == known and not cells[column + changed % RING]:
            cells[newest] = self._newest(cells[column : column + RING].tolist())

    def _newest(self, values: list[int]) -> int:
        """The newest bucket with anything in it; the oldest of the window where there is none."""
        head = self._cells[HEAD]
        oldest = head - self.window.buckets
        return next((b for b in range(head, oldest, -1) if values[b % RING]), oldest)

    def refill(self, head: int, new: Cells, now: float) -> None:
        """Replace the ring by these cells and the requests that are still open; holds stay."""
        cells = self._cells
        buckets = self.window.buckets
        if cells[DIRTY] == CHANGING:
            self._sum_up()
        if self.is_whole():
            self._expire(int(now * 1_000_000))  # the dead's open requests are in the history
        columns = [[0] * RING for _ in range(4)]
        for bucket, amounts in new.items():
            for column, amount in enumerate(amounts):
                columns[column][bucket % RING] = amount
        for bucket in range(cells[HEAD] - buckets, cells[HEAD] + 1):
            i = max(head - buckets, min(bucket, head)) % RING
            columns[0][i] += cells[RING_OPEN + bucket % RING]
            columns[3][i] += cells[RING_OPEN + bucket % RING]
        cells[DIRTY] = FILLING
        cells[HEAD] = head
        self._put(RING_START, [value for column in columns for value in column])
        self._sum_up()
        self.ready(now)

    def _put(self, start: int, values: list[int]) -> None:
        self._map[8 * start : 8 * (start + len(values))] = packed(values)

    def _roll(self, bucket: int) -> None:
        """Make `bucket` the newest one; empty those that leave the window."""
        cells = self._cells
        head, buckets = cells[HEAD], self.window.buckets
        cells[DIRTY] = CHANGING
        if bucket - buckets > head:
            self._put(RING_START, [0] * (4 * RING))
            cells[REQUESTS] = cells[TOKENS] = cells[COST] = 0
        else:
            for old in range(head - buckets, bucket - buckets):
                i = old % RING
                for column, total in _COLUMNS:
                    if amount := cells[column + i]:
                        cells[total] -= amount
                        cells[column + i] = 0
                cells[RING_OPEN + i] = 0
        cells[HEAD] = bucket
        cells[DIRTY] = CLEAN

    def _expire(self, now_us: int) -> None:
        """Free the entries whose processes have not beaten for 45 s; what they held is let go."""
        cells = self._cells
        cells[DIRTY] = CHANGING
        used, next_expiry = 0, NEVER
        for slot in range(cells[USED]):
            entry = ENTRIES + slot * ENTRY
            if not cells[entry]:
                continue
            expiry = cells[entry + BEAT] + HOLD_US
            if expiry <= now_us:
                cells[entry] = 0
                cells[LIVE] -= cells[entry + ENTRY_LIVE]
                cells[HELD_TOKENS] -= cells[entry + ENTRY_TOKENS]
                cells[HELD_COST] -= cells[entry + ENTRY_COST]
            else:
                used, next_expiry = slot + 1, min(next_expiry, expiry)
        if not cells[LIVE]:  # what the dead had open; nobody knows in which buckets before
            self._put(RING_OPEN, [0] * RING)
        cells[USED], cells[NEXT_EXPIRY] = used, next_expiry
        cells[DIRTY] = CLEAN

    def _sum_up(self) -> None:
        """Make all sums anew, and empty what is not in the window."""
        cells = self._cells
        head = cells[HEAD]
        window = {b % RING for b in range(head - self.window.buckets, head + 1)}
        for column, total in (*_COLUMNS, (RING_OPEN, None)):
            values = cells[column : column + RING].tolist()
            values = [value if i in window else 0 for i, value in enumerate(values)]
            self._put(column, values)
            if total is not None:
                cells[total] = min(MOST, sum(values))
            if total == REQUESTS:
                cells[NEWEST_REQUESTS] = self._newest(values)
            elif total == TOKENS:
                cells[NEWEST_TOKENS] = self._newest(values)
        live = [
            entry
            for entry in range(ENTRIES, ENTRIES + PROCESSES * ENTRY, ENTRY)
            if cells[entry] != 0
        ]
        for total, field in (
            (LIVE, ENTRY_LIVE),
            (HELD_TOKENS, ENTRY_TOKENS),
            (HELD_COST, ENTRY_COST),
        ):
            cells[total] = sum(cells[entry + field] for entry in live)
        cells[USED] = (live[-1] - ENTRIES) // ENTRY + 1 if live else 0
        cells[NEXT_EXPIRY] = min((cells[entry + BEAT] + HOLD_US for entry in live), default=NEVER)
        cells[DIRTY] = CLEAN
