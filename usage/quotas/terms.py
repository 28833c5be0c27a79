"""The words of quotas: a rule, what its window holds, a reservation, a refusal.

Cost is in 10^-9 of a currency. Moments are seconds since the epoch. Neither Django nor DRF here:
the lane reserves on every request.
"""

from dataclasses import dataclass, field
from typing import Literal

LimitName = Literal["requests", "tokens", "cost", "concurrent"]
BUCKETS = 360
HOLD_S = 45.0  # what a hold is worth after the last beat of its process
MOST = 2**53 - 1  # the largest sum kept: Redis counts in doubles; more is not added


class CountersAwayError(Exception):
    """The counters cannot be reached in time, or those of a rule are missing."""


class CountersBusyError(CountersAwayError):
    """Somebody else has them just now: nothing was done, and it may be tried again."""


class CountersMissingError(CountersAwayError):
    """The store answers but has no counters of this rule: `fill` makes them."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One quota rule as the lane knows it. A maximum of None is no limit, 0 blocks all (S-16).

    `key_id` is None for a rule on the user; an empty `model` means all. `window_s` is at least 1.
    """

    id: str
    user_id: str
    key_id: str | None
    model: str
    window_s: int
    max_requests: int | None = None
    max_total_tokens: int | None = None
    max_cost: int | None = None
    max_concurrent: int | None = None

    @property
    def bucket_s(self) -> float:
        """The width of one bucket in seconds (S-51)."""
        return max(1.0, self.window_s / BUCKETS)


@dataclass(frozen=True, slots=True)
class Standing:
    """What one rule's window holds at a moment.

    `requests` are those admitted, `tokens` and `cost` those settled. `opens_at` (S-15) is the
    earliest moment at which a next call is admitted: the moment itself where it would be admitted
    now, None where never. `limit` is what refuses it. The reset moments are when the window would
    be empty of what is in it, or the moment itself where nothing is.
    """

    requests: int
    tokens: int
    cost: int
    held_tokens: int
    held_cost: int
    concurrent: int
    opens_at: float | None
    limit: LimitName | None
    requests_reset_at: float
    tokens_reset_at: float


@dataclass(slots=True)
class Hold:
    """A reservation of one request over all the rules that apply to it.

    `parts` has, for each rule, the bucket of admission, the tokens and the cost held, and the
    standing after the reservation. `tokens` is the least granted over the rules with a token
    limit, None where there is none; `cost` the same. `entries` is the file store's own: where the
    hold is written down.
    """

    parts: list[tuple[Rule, int, int, int, Standing]]
    tokens: int | None
    cost: int | None
    at: float
    id: str
    settled: bool = False
    entries: tuple[tuple[int, int], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """The first rule, in the order given, that does not let a request through, and its limit."""

    rule: Rule
    limit: LimitName
    standing: Standing
