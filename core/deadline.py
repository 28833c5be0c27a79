"""A time-out that is cheap to move: setting one is two attribute writes, not a timer."""

import asyncio
from collections.abc import Callable

TICK_S = 5.0


def _nothing() -> None:
    pass


class Deadline:
    """Calls `expired` once the time set last has come. For a time-out that hardly ever happens.

    One timer a `TICK_S` looks whether it is time, only while something is set. It is as exact as
    the loop's own: the last look is at the deadline itself. Whoever would `set` the same seconds again
    and again says `renewed = True` instead, which is noticed at the next look: up to `TICK_S` late.
    """

    __slots__ = ("_at", "_expired", "_loop", "_seconds", "_timer", "renewed")

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._at: float | None = None
        self._seconds = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.renewed = False

    def set(self, seconds: float) -> None:
        """`expired` is due in `seconds`, instead of whenever it was due before."""
        self._at = self._loop.time() + seconds
        self._seconds, self.renewed = seconds, False
        if self._timer is None:
            self._timer = self._loop.call_later(min(seconds, TICK_S), self._look)
        elif seconds < TICK_S:  # perhaps before the next look
            self._timer.cancel()
            self._timer = self._loop.call_later(seconds, self._look)

    @property
    def is_set(self) -> bool:
        return self._at is not None

    def clear(self) -> None:
        """Nothing is due. The timer, where there is one, finds that out by itself."""
        self._at = None

    def close(self) -> None:
        """As `clear`, and give back the timer."""
        self._at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        """Nothing is ever due again. `expired` is given back as well: it is mostly a method of whoever
        holds this, and such a ring would stay until garbage is collected.
        """
        self.close()
        self._expired = _nothing

    def _look(self) -> None:
        self._timer = None
        if self._at is None:
            return
        if self.renewed:
            self.renewed = False
            self._at = self._loop.time() + self._seconds
        left_s = self._at - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(min(left_s, TICK_S), self._look)
            return
        self._at = None
        self._expired()
