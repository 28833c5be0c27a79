"""Whose turn it is at a busy engine: as many requests as it works on at once, the rest in line.

Round-robin over the users who wait, within a user by arrival, so that one user's backlog delays
others by one request at most per place. Free places cost a comparison and an increment.
"""

import asyncio
import time
from collections import OrderedDict

from core.deadline import Deadline
from core.errors import EngineTimeoutError, QueueFullError, RateLimitedError

MAX_WAIT_S = 600.0
RETRY_AFTER_S = 5.0
# One user's waiting requests, oldest first, each with the time it came (perf_counter, seconds).
Line = OrderedDict[asyncio.Future[bool], float]


class FairQueue:
    """The places of one engine in one worker, and who waits for one.

    `capacity` places at most are held at once, and `max_waiting` requests wait. `by_user` false
    makes the order first come, first served; the bounds are the same. Nobody waits while a place
    is free. Belongs to one event loop.

    A place is held from `enter` (True) or `wait` (True) until `leave`.
    """

    __slots__ = (
        "_by_user",
        "_capacity",
        "_deadline",
        "_held",
        "_lines",
        "_loop",
        "_max_waiting",
        "_waiting",
    )

    def __init__(self, capacity: int, max_waiting: int, *, by_user: bool = True) -> None:
        self._capacity = capacity
        self._max_waiting = max_waiting
        self._by_user = by_user
        self._held = self._waiting = 0
        self._lines: OrderedDict[str, Line] = OrderedDict()  # the user whose turn is next, first
        self._loop = asyncio.get_running_loop()
        self._deadline = Deadline(self._loop, self._refuse_late)

    @property
    def held(self) -> int:
        """Places in use."""
        return self._held

    @property
    def waiting(self) -> int:
        """Requests in line."""
        return self._waiting

    def enter(self) -> bool:
        """Take a place if one is free."""
        if self._held < self._capacity:
            self._held += 1
            return True
        return False

    def leave(self) -> None:
        """Give a place back; it goes to the next in turn at once."""
        self._held -= 1
        if self._waiting:
            self._let_in()

    async def wait(self, user: str) -> bool:
        """Stand in line after `enter` said no. True with a place, False when the queue was closed.

        Raises QueueFullError (503) where too many wait, RateLimitedError (429) where `user` alone
        has more than half of the queue, EngineTimeoutError after `MAX_WAIT_S`. A caller that is
        cancelled holds nothing, also when its turn had just come.
        """
        self._check_room(user)
        waiter: asyncio.Future[bool] = self._loop.create_future()
        self._lines.setdefault(user, OrderedDict())[waiter] = time.perf_counter()
        self._waiting += 1
        if self._waiting == 1:
            self._deadline.set(MAX_WAIT_S)
        try:
            return await waiter
        except BaseException:
            if not waiter.done() or waiter.cancelled():
                self._forget(user, waiter)
            elif waiter.exception() is None and waiter.result():
                self.leave()
            raise

    def resize(self, capacity: int) -> None:
        """Change the number of places; too many that are held are given back as they end."""
        self._capacity = capacity
        self._let_in()

    def close(self) -> None:
        """Send everybody in line away (`wait` says False). Places that are held stay so."""
        self._deadline.close()
        for line in self._lines.values():
            for waiter in line:
                if not waiter.done():
                    waiter.set_result(False)
        self._lines.clear()
        self._waiting = 0

    def _let_in(self) -> None:
        while self._waiting and self._held < self._capacity:
            waiter = self._take_next()
            if not waiter.done():  # else cancelled a moment ago, and about to forget itself
                self._held += 1
                waiter.set_result(True)

    def _take_next(self) -> asyncio.Future[bool]:
        """The first of the line whose turn it is; a user with more goes to the end of the turns."""
        if self._by_user:
            user, line = self._lines.popitem(last=False)
        else:
            user = min(self._lines, key=lambda each: next(iter(self._lines[each].values())))
            line = self._lines.pop(user)
        waiter, _ = line.popitem(last=False)
        self._waiting -= 1
        if line:
            self._lines[user] = line
        return waiter

    def _forget(self, user: str, waiter: asyncio.Future[bool]) -> None:
        line = self._lines.get(user)
        if line is None or line.pop(waiter, None) is None:
            return
        self._waiting -= 1
        if not line:
            del self._lines[user]

    def _check_room(self, user: str) -> None:
        """One user has at most half of the queue, unless nobody else wants it.

        Where the queue is full of one user's requests, the newest of these makes room.
        """
        own = len(self._lines.get(user, ()))
        is_full = self._waiting >= self._max_waiting
        if (own + 1) * 2 > self._max_waiting and (is_full or own < self._waiting):
            raise _too_many_of_one(own)
        if not is_full:
            return
        heaviest = max(self._lines, key=lambda each: len(self._lines[each]))
        n_theirs = len(self._lines[heaviest])
        if n_theirs * 2 <= self._max_waiting:
            raise QueueFullError(retry_after_s=RETRY_AFTER_S)
        newest = next(reversed(self._lines[heaviest]))
        self._forget(heaviest, newest)
        if not newest.done():
            newest.set_exception(_too_many_of_one(n_theirs))

    def _refuse_late(self) -> None:
        """Who came first in each line and waited too long gets the error of a silent engine."""
        now = time.perf_counter()
        for user, line in list(self._lines.items()):
            for waiter, came in list(line.items()):
                if now - came < MAX_WAIT_S:
                    break
                self._forget(user, waiter)
                if not waiter.done():
                    waiter.set_exception(EngineTimeoutError(_LATE))
        if self._waiting:
            oldest = min(next(iter(line.values())) for line in self._lines.values())
            self._deadline.set(max(0.0, oldest + MAX_WAIT_S - now))


_LATE = "The engine had no room for this request in time."


def _too_many_of_one(n_waiting: int) -> RateLimitedError:
    return RateLimitedError(
        f"{n_waiting} of your requests wait for this model already. Wait for some of their answers "
        "before you send more, or send fewer at once.",
        retry_after_s=RETRY_AFTER_S,
    )
