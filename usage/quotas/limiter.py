"""The lane's side of quotas: which rules apply, a reservation at admission, its settlement.

Imports no models. Somebody without a rule pays two look-ups in dictionaries for it.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from core.errors import UnavailableError
from core.principal import Principal
from core.response_headers import Headers
from usage.metering import Reservation
from usage.quotas.terms import (
    CountersAwayError,
    CountersBusyError,
    CountersMissingError,
    Hold,
    Refused,
    Rule,
)
from usage.quotas.words import rate_headers, refusal
from usage.tariff import FREE, Rates, Tariff, cost

log = logging.getLogger("gatehouse.quotas")
MAX_OWED = 100_000
PATIENCE_S, PAUSE_S = 2.0, 0.005  # a machine without a CPU to spare is slow, not away
Found = TypeVar("Found")
Spawn = Callable[[Coroutine[Any, Any, None], str], None]


class Counters(Protocol):
    """Where reservations are counted: files of this machine, or Redis (which answers by coroutines)."""

    def reserve(
        self, rules: list[Rule], tokens: int, cost: int, now: float
    ) -> Hold | Refused | Awaitable[Hold | Refused]: ...

    def settle(
        self, hold: Hold, *, counted: bool, tokens: int, cost: int, now: float
    ) -> Awaitable[None] | None: ...

    def beat(self, now: float) -> Awaitable[None] | None: ...

    def close(self) -> Awaitable[None] | None: ...


class Terms:
    """The quota rules and prices that are in force, as one worker last read them."""

    __slots__ = ("_by_key", "_by_user", "tariff")

    def __init__(self, rules: Iterable[Rule] = (), tariff: Tariff | None = None) -> None:
        self.tariff = tariff or Tariff()
        self._by_user: dict[str, list[Rule]] = {}
        self._by_key: dict[str, list[Rule]] = {}
        for rule in sorted(rules, key=lambda rule: (rule.model != "", rule.model, rule.window_s)):
            where = self._by_user if rule.key_id is None else self._by_key
            where.setdefault(rule.key_id or rule.user_id, []).append(rule)

    def rules_for(self, principal: Principal, model: str) -> list[Rule]:
        """What limits this caller on this model, rules for all models first (4.4, S-51)."""
        if not self._by_user and not self._by_key:
            return []
        return self.rules_of(principal.user_id, principal.key_id, model, exempt=principal.is_admin)

    def rules_of(self, user_id: str, key_id: str | None, model: str, *, exempt: bool) -> list[Rule]:
        """The same by names. An admin is `exempt` from rules on users, not from rules on keys."""
        found = [] if exempt else self._by_user.get(user_id, [])
        if key_id is not None and key_id in self._by_key:
            found = [*found, *self._by_key[key_id]]
        return [rule for rule in found if not rule.model or rule.model == model] if found else found


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request may come to: tokens of its prompt, by estimate, and at most of its completion."""

    prompt: int
    completion: int

    @property
    def tokens(self) -> int:
        return self.prompt + self.completion


class Allowance(Reservation):
    """One reservation, with how much of the request it lets through.

    `completion` is how many tokens may be generated, None where that is not limited further than the
    caller did. `headers` go with the answer.
    """

    __slots__ = (
        "_hold",
        "_limiter",
        "_most_cost",
        "_most_tokens",
        "_prompt",
        "_rates",
        "completion",
        "headers",
    )

    def __init__(self, limiter: "Limiter", hold: Hold, wanted: Wanted, rates: Rates) -> None:
        self._limiter = limiter
        self._hold = hold
        self._rates = rates
        self._prompt = wanted.prompt
        standings = [(rule, standing) for rule, _, _, _, standing in hold.parts]
        self.headers: Headers = rate_headers(standings, hold.at)
        full_cost = cost(rates, prompt=wanted.prompt, cached=0, completion=wanted.completion)
        is_cut = hold.tokens is not None and hold.tokens < wanted.tokens
        self._most_tokens = hold.tokens if is_cut else None
        is_dear = hold.cost is not None and hold.cost < full_cost
        self._most_cost = hold.cost if is_dear else None
        self.completion = self._completion(wanted)

    def _completion(self, wanted: Wanted) -> int | None:
        limits = []
        if self._most_tokens is not None:
            limits.append(self._most_tokens - wanted.prompt)
        if self._most_cost is not None and self._rates.completion:
            left = self._most_cost - wanted.prompt * self._rates.prompt
            limits.append(left // self._rates.completion)
        return max(1, min(limits)) if limits else None

    def is_used_up(self, prompt: int, cached: int, completion: int) -> bool:
        """Whether what was generated so far reaches what was left at admission (S-52).

        A prompt that the engine has not counted yet is as long as it was estimated.
        """
        prompt = prompt or self._prompt
        if self._most_tokens is not None and prompt + completion >= self._most_tokens:
            return True
        if self._most_cost is None:
            return False
        spent = cost(self._rates, prompt=prompt, cached=cached, completion=completion)
        return spent >= self._most_cost

    def settle(self, *, counted: bool, prompt: int, cached: int, completion: int) -> None:
        spent = cost(self._rates, prompt=prompt, cached=cached, completion=completion)
        self._limiter.settle(self._hold, counted=counted, tokens=prompt + completion, cost=spent)


class Limiter:
    """Reserves for the requests of one worker. `away` says what happens where the counters are away."""

    def __init__(
        self,
        counters: Counters,
        *,
        away: Literal["refuse", "serve"] = "refuse",
        currency: str = "USD",
        spawn: Spawn | None = None,
    ) -> None:
        self.terms: Terms | None = None  # until they were read
        self._owed: deque[_Debt] = deque(maxlen=MAX_OWED)
        self.is_stale = False  # counters of a rule are missing: reading the terms makes them
        self._counters = counters
        self._away = away
        self._currency = currency
        self._spawn = spawn

    def rules_for(self, principal: Principal, model: str) -> list[Rule]:
        """What limits this caller. Raises UnavailableError where the rules were never read."""
        if self.terms is None:
            self._refuse_or_serve()
            return []
        return self.terms.rules_for(principal, model)

    def _refuse_or_serve(self) -> None:
        if self._away == "refuse":
            raise UnavailableError("Quotas cannot be checked at the moment.", retry_after_s=2)

    async def beat(self) -> None:
        """Say that this process lives, so that its holds do: none outlives a crash by a minute."""
        try:
            await _patiently(lambda: self._counters.beat(time.time()))
        except CountersAwayError as exc:
            log.warning("reservations were not refreshed: %s", exc)

    async def close(self) -> None:
        """Let go of the counters, once no request is under way."""
        done = self._counters.close()
        if done is not None:
            await done

    async def reserve(self, rules: list[Rule], model: str, wanted: Wanted) -> Allowance | None:
        """Hold what a request may come to over all its `rules`.

        Raises QuotaExceededError; UnavailableError where the counters cannot be asked, or returns None
        there where the operator would rather serve (LOCALAI_QUOTA_WHEN_AWAY).
        """
        now = time.time()
        rates = self.terms.tariff.rates(model, int(now * 1000)) if self.terms else FREE
        most = 0
        if rates is not FREE:
            most = cost(rates, prompt=wanted.prompt, cached=0, completion=wanted.completion)
        try:
            found: Hold | Refused = await _patiently(
                lambda: self._counters.reserve(rules, wanted.tokens, most, now)
            )
        except CountersAwayError as exc:
            self.is_stale = isinstance(exc, CountersMissingError)
            log.warning("quotas cannot be counted: %s", exc)
            self._refuse_or_serve()
            return None
        if isinstance(found, Refused):
            error = refusal(found, now, self._currency)
            error.headers = rate_headers([(found.rule, found.standing)], now)
            raise error
        return Allowance(self, found, wanted, rates)

    def settle(self, hold: Hold, *, counted: bool, tokens: int, cost: int) -> None:
        """Give `hold` back and count what was used; what cannot be said now is said later (`pay`)."""
        debt = _Debt(hold, counted, tokens, cost)
        try:
            done = self._settled(debt)
        except CountersAwayError as exc:
            self._owe(debt, exc)
            return
        if done is not None and self._spawn is not None:
            self._spawn(self._finish(debt, done), "settle a reservation")

    def _settled(self, debt: "_Debt") -> Awaitable[None] | None:
        return self._counters.settle(
            debt.hold,
            counted=debt.counted,
            tokens=debt.tokens,
            cost=debt.cost,
            now=time.time(),
        )

    async def _finish(self, debt: "_Debt", done: Awaitable[None]) -> None:
        try:
            await done
        except CountersAwayError as exc:
            self._owe(debt, exc)

    def _owe(self, debt: "_Debt", exc: CountersAwayError) -> None:
        """Nobody else gives back what a living process holds: it is tried again until it worked."""
        log.warning("a reservation is settled later: %s", exc)
        self._owed.append(debt)

    async def pay(self) -> None:
        """Try again what could not be settled; what fails again waits for the next time."""
        for _ in range(len(self._owed)):
            debt = self._owed.popleft()
            try:
                done = self._settled(debt)
                if done is not None:
                    await done
            except CountersAwayError as exc:
                self._owe(debt, exc)
                return


async def _patiently(call: Callable[[], Found | Awaitable[Found]]) -> Found:
    """What `call` says, asked again for two seconds where others have the counters just then."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            found = call()
            return await found if isawaitable(found) else found
        except CountersBusyError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(PAUSE_S)


class _Debt(NamedTuple):
    """A settlement that is still to be said."""

    hold: Hold
    counted: bool
    tokens: int
    cost: int
