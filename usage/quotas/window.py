"""The arithmetic of a sliding window of buckets; the same for every store.

A window is a whole number of buckets long (360, or one a second). The window at a moment is the
bucket of that moment and all that are not wholly older than the window's length, so an event leaves
it never early and at most one bucket late (S-51).
"""

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

from usage.quotas.terms import BUCKETS, MOST, LimitName, Rule, Standing

Cells = dict[int, list[int]]  # bucket -> requests, tokens, cost
Column = Iterable[tuple[int, int]]  # buckets of the window and what one column has, oldest first


class Window:
    """The buckets of all rules of one length in seconds."""

    __slots__ = ("_known", "buckets", "seconds", "width")

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.width = max(1.0, seconds / BUCKETS)
        self.buckets = min(seconds, BUCKETS)  # the window has so many, and the one under way
        self._known = (-1, 0.0)  # most ask for the bucket that the one before asked for

    def bucket(self, at: float) -> int:
        return math.floor(at / self.width)

    def leaves(self, bucket: int) -> float:
        """The first moment at which `bucket` is no longer in the window, to the last bit."""
        known, moment = self._known
        if known == bucket:
            return moment
        after = bucket + self.buckets + 1
        moment = after * self.width
        while self.bucket(moment) < after:
            moment = math.nextafter(moment, math.inf)
        while self.bucket(math.nextafter(moment, 0)) >= after:
            moment = math.nextafter(moment, 0)
        self._known = (bucket, moment)
        return moment


window_of = lru_cache(maxsize=4096)(Window)


class Contents(NamedTuple):
    """Sums over a window and its live holds, and the newest buckets with requests and tokens."""

    requests: int
    tokens: int
    cost: int
    concurrent: int
    held_tokens: int
    held_cost: int
    newest_requests: int
    newest_tokens: int


def left(maximum: int, settled: int, held: int) -> int:
    """What may still be held; nothing is left at 0 or less."""
    return min(maximum, MOST) - settled - held


def refusing(rule: Rule, contents: Contents) -> LimitName | None:
    """The first limit that admits nothing more, or None."""
    requests, tokens, cost, concurrent, held_tokens, held_cost, _, _ = contents
    if rule.max_requests is not None and requests >= rule.max_requests:
        return "requests"
    # As in `left`, without its call: this runs twice for each rule of each request.
    if (maximum := rule.max_total_tokens) is not None and (
        tokens + held_tokens >= maximum or tokens + held_tokens >= MOST
    ):
        return "tokens"
    if (maximum := rule.max_cost) is not None and (
        cost + held_cost >= maximum or cost + held_cost >= MOST
    ):
        return "cost"
    if rule.max_concurrent is not None and concurrent >= rule.max_concurrent:
        return "concurrent"
    return None


def standing_of(
    rule: Rule, now: float, contents: Contents, column: Callable[[int], Column]
) -> Standing:
    """The standing at `now`. `column` gives the buckets' requests (0), tokens (1) or cost (2); it is
    asked only where that limit is reached, for it costs more than the rest.
    """
    requests, tokens, cost, concurrent, held_tokens, held_cost, newest, newest_tokens = contents
    window = window_of(rule.window_s)
    limit = refusing(rule, contents)
    requests_reset = tokens_reset = now
    if requests:
        requests_reset = max(now, window.leaves(newest))
    if tokens:
        tokens_reset = max(now, window.leaves(newest_tokens))
    if held_tokens:  # they are settled into the buckets of their requests
        tokens_reset = max(tokens_reset, requests_reset)
    return Standing(
        requests,
        tokens,
        cost,
        held_tokens,
        held_cost,
        concurrent,
        now if limit is None else _opens_at(rule, now, contents, column),
        limit,
        requests_reset,
        tokens_reset,
    )


def _opens_at(
    rule: Rule, now: float, contents: Contents, column: Callable[[int], Column]
) -> float | None:
    """When the last of the limits that refuse now has room again; None where one never has.

    Nobody knows when a running request ends: a second from now, where only that would help.
    """
    moment = now
    for i, maximum, total, held in (
        (0, rule.max_requests, contents.requests, 0),
        (1, rule.max_total_tokens, contents.tokens, contents.held_tokens),
        (2, rule.max_cost, contents.cost, contents.held_cost),
    ):
        if maximum is None:
            continue
        if maximum <= 0:
            return None
        if left(maximum, total, held) > 0:
            continue
        if left(maximum, 0, held) <= 0:
            moment = max(moment, now + 1)
            continue
        settled = total
        for bucket, amount in column(i):
            settled -= amount
            if left(maximum, settled, held) > 0:
                moment = max(moment, window_of(rule.window_s).leaves(bucket))
                break
    if rule.max_concurrent is not None:
        if rule.max_concurrent <= 0:
            return None
        if contents.concurrent >= rule.max_concurrent:
            moment = max(moment, now + 1)
    return moment


def cells_of(window: Window, used: Iterable[tuple[float, int, int, int]], now: float) -> Cells:
    """History of (at, requests, tokens, cost) as the cells of the window at `now`; none below 0."""
    newest = window.bucket(now)
    cells: Cells = {}
    for at, *amounts in used:
        bucket = min(window.bucket(at), newest)  # another machine's clock may be ahead
        if bucket >= newest - window.buckets:
            cell = cells.setdefault(bucket, [0, 0, 0])
            for column, amount in enumerate(amounts):
                cell[column] += amount
    room = [MOST] * 3
    for _, cell in sorted(cells.items(), reverse=True):  # what is cut is what leaves first
        for column in range(3):
            cell[column] = max(0, min(cell[column], room[column]))
            room[column] -= cell[column]
    return cells
