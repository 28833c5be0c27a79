"""What keeps a process from starting: for good, or for as long as the database is away."""

import time
from collections.abc import Callable

AGAIN_S = 1.0


class Unreadable(str):
    """A line that says that the database could not be read: what it holds is not known."""

    __slots__ = ()

    @classmethod
    def because_of(cls, exc: Exception) -> "Unreadable":
        kind = type(exc).__name__
        return cls(f"the database cannot be read ({kind}); is it running and reachable?")


def once_readable(
    check: Callable[[], str | None], *, limit_s: float, say: Callable[[str], None]
) -> str | None:
    """What `check` finds, asked again while that is Unreadable, for `limit_s` seconds at most.

    `say` is told once that somebody waits.
    """
    until, has_said = time.monotonic() + limit_s, False
    while isinstance(found := check(), Unreadable) and time.monotonic() < until:
        if not has_said:
            say(found)
            has_said = True
        time.sleep(AGAIN_S)
    return found
