"""Quota counters shared by several machines through one Redis (no cluster): one script call each.

All of a rule lies under the prefix `gatehouse:quota:<rule id>`. Redis counts in doubles, which are exact
up to 2^53: sums stop at 2^53 - 1 (nine million of a currency in 10^-9), amounts and maxima have to be
below that. A hold expires by itself 45 s after the last `beat`. Time comes from the caller, so the
machines' clocks should agree; where one is behind, its requests leave later, never earlier.
"""

import asyncio
import itertools
import json
import os
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from usage.quotas.terms import (
    CountersAwayError,
    CountersMissingError,
    Hold,
    LimitName,
    Refused,
    Rule,
    Standing,
)
from usage.quotas.window import Column, Contents, cells_of, standing_of, window_of

PREFIX = "gatehouse:quota:"
TIMEOUT_S = 1.0
CONNECTIONS = 32
_SCRIPT: Final = Path(__file__).with_name("counters.lua").read_text()
_LOST = (redis.RedisError, OSError)
_Call = tuple[list[str], str]  # keys, argument
_SETTINGS: Final = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
_T = TypeVar("_T")
_History = Iterable[tuple[float, int, int, int]]


def _call(op: str, rules: Sequence[Rule], now: float, **more: Any) -> _Call:
    asked = []
    for rule in rules:
        window = window_of(rule.window_s)
        maxima = (rule.max_requests, rule.max_total_tokens, rule.max_cost, rule.max_concurrent)
        requests, tokens, cost, concurrent = (-1 if each is None else each for each in maxima)
        asked.append(
            {
                "w": rule.window_s,
                "n": window.buckets,
                "b": window.bucket(now),
                "requests": requests,
                "tokens": tokens,
                "cost": cost,
                "concurrent": concurrent,
            }
        )
    argument = {"op": op, "now": int(now * 1_000_000), "rules": asked, **more}
    return [PREFIX + rule.id for rule in rules], json.dumps(argument)


def _keys(rule_id: str) -> list[str]:
    return [PREFIX + rule_id + each for each in ("", ":holds", ":held")]


def _standing(rule: Rule, now: float, told: list[int]) -> Standing:
    contents = Contents(*told[:8])

    def column(number: int) -> Column:
        """Walked in Redis: all that has to leave has left with one bucket."""
        return [(told[8 + number], contents[number])]

    return standing_of(rule, now, contents, column)


class _Holds:
    """What both clients do without Redis: make the calls, read the answers, know the live holds."""

    def __init__(self) -> None:
        self._renew()

    def _renew(self) -> None:
        self._pid = os.getpid()
        self._name = os.urandom(10).hex()
        self._serial = itertools.count()
        self._live: dict[str, tuple[str, ...]] = {}

    def _new_id(self) -> str:
        if self._pid != os.getpid():  # a child keeps none of its parent's holds alive
            self._renew()
        return f"{self._name}{next(self._serial):012x}"

    def _reserved(
        self, rules: Sequence[Rule], now: float, hold_id: str, answer: list[Any]
    ) -> Hold | Refused:
        kind, *told = answer
        if kind == b"refused":
            rule = rules[told[0] - 1]
            standing = _standing(rule, now, told[1])
            return Refused(rule, cast("LimitName", standing.limit), standing)
        hold = Hold([], None, None, now, hold_id)
        for rule, (bucket, tokens, cost, sums) in zip(rules, told, strict=True):
            hold.parts.append((rule, bucket, tokens, cost, _standing(rule, now, sums)))
            if rule.max_total_tokens is not None:
                hold.tokens = tokens if hold.tokens is None else min(hold.tokens, tokens)
            if rule.max_cost is not None:
                hold.cost = cost if hold.cost is None else min(hold.cost, cost)
        self._live[hold_id] = tuple(rule.id for rule in rules)
        return hold

    @staticmethod
    def _settle_call(hold: Hold, now: float, *, counted: bool, tokens: int, cost: int) -> _Call:
        return _call(
            "settle",
            [part[0] for part in hold.parts],
            now,
            id=hold.id,
            admitted=[part[1] for part in hold.parts],
            counted=counted,
            tokens=tokens,
            cost=cost,
        )

    @staticmethod
    def _charge_call(rule: Rule, at: float, now: float, used: tuple[int, int, int]) -> _Call:
        amounts = dict(zip(("requests", "tokens", "cost"), used, strict=True))
        return _call("charge", [rule], now, at=window_of(rule.window_s).bucket(at), **amounts)

    @staticmethod
    def _fill_call(rule: Rule, used: _History, now: float, *, only_missing: bool) -> _Call:
        cells = cells_of(window_of(rule.window_s), used, now)
        rows = [[bucket, *amounts] for bucket, amounts in cells.items()]
        return _call("fill", [rule], now, cells=rows, only_missing=only_missing)

    def _beat_call(self, now: float) -> _Call | None:
        if self._pid != os.getpid():
            self._renew()
        pairs = [
            (PREFIX + rule, hold) for hold, rules in list(self._live.items()) for rule in rules
        ]
        if not pairs:
            return None
        _, argument = _call("beat", [], now, ids=[hold for _, hold in pairs])
        return [key for key, _ in pairs], argument


def _checked(rules: Sequence[Rule], answer: Any) -> list[Any]:
    if answer[0] == b"missing":
        raise CountersMissingError(rules[answer[1] - 1].id)
    return cast("list[Any]", answer)


class RedisCounters(_Holds):
    """For pages and the background process. Usable from several threads, and after a fork.

    The methods are those of LocalCounters and mean the same. Every one raises CountersAwayError where
    Redis does not answer within a second, and those that do there also CountersMissingError.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        # No second try: a script whose answer was lost may have run.
        self._redis = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **_SETTINGS)
        self._script = self._redis.register_script(_SCRIPT)

    def _run(self, call: _Call, rules: Sequence[Rule] = ()) -> list[Any]:
        try:
            return _checked(rules, self._script(keys=call[0], args=[call[1]]))
        except _LOST as exc:
            raise CountersAwayError(type(exc).__name__) from exc

    def reserve(self, rules: Sequence[Rule], tokens: int, cost: int, now: float) -> Hold | Refused:
        hold_id = self._new_id()
        call = _call("reserve", rules, now, id=hold_id, tokens=tokens, cost=cost)
        return self._reserved(rules, now, hold_id, self._run(call, rules))

    def settle(self, hold: Hold, counted: bool, tokens: int, cost: int, now: float) -> None:  # noqa: FBT001  # the contract's order
        if hold.settled:
            return
        hold.settled = True
        try:
            self._run(self._settle_call(hold, now, counted=counted, tokens=tokens, cost=cost))
        except CountersAwayError:
            hold.settled = False
            raise
        self._live.pop(hold.id, None)

    def charge(  # noqa: PLR0917  # the contract's order
        self, rule: Rule, at: float, requests: int, tokens: int, cost: int, now: float
    ) -> None:
        self._run(self._charge_call(rule, at, now, (requests, tokens, cost)), [rule])

    def fill(self, rule: Rule, used: _History, now: float, *, only_missing: bool = False) -> None:
        self._run(self._fill_call(rule, used, now, only_missing=only_missing))

    def standing(self, rule: Rule, now: float) -> Standing:
        answer = self._run(_call("standing", [rule], now), [rule])
        return _standing(rule, now, answer[1])

    def exists(self, rule: Rule) -> bool:
        return bool(self._run(_call("exists", [rule], 0))[0] == b"yes")

    def forget(self, rule_id: str) -> None:
        try:
            self._redis.delete(*_keys(rule_id))
        except _LOST as exc:
            raise CountersAwayError(type(exc).__name__) from exc

    def beat(self, now: float) -> None:
        call = self._beat_call(now)
        if call is not None:
            self._run(call)

    def close(self) -> None:
        self._redis.close()


class AsyncRedisCounters(_Holds):
    """For the lane: RedisCounters' methods as coroutines, for one event loop.

    A call that is cancelled goes on by itself, and a reservation that nobody waits for any more is
    given back: otherwise a client that left would stay counted.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=TIMEOUT_S,
            retry=AsyncRetry(NoBackoff(), 0),
            **_SETTINGS,
        )
        self._redis = redis.asyncio.Redis.from_pool(pool)
        self._script = self._redis.register_script(_SCRIPT)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def _run(self, call: _Call, rules: Sequence[Rule] = ()) -> list[Any]:
        try:
            return _checked(rules, await self._script(keys=call[0], args=[call[1]]))
        except _LOST as exc:
            raise CountersAwayError(type(exc).__name__) from exc

    def _start(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen: whoever waited may be gone

    async def reserve(
        self, rules: Sequence[Rule], tokens: int, cost: int, now: float
    ) -> Hold | Refused:
        task = self._start(self._reserve(rules, tokens, cost, now))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._give_back)
            raise

    async def _reserve(
        self, rules: Sequence[Rule], tokens: int, cost: int, now: float
    ) -> Hold | Refused:
        hold_id = self._new_id()
        call = _call("reserve", rules, now, id=hold_id, tokens=tokens, cost=cost)
        return self._reserved(rules, now, hold_id, await self._run(call, rules))

    def _give_back(self, task: "asyncio.Task[Hold | Refused]") -> None:
        if task.cancelled() or task.exception() is not None:
            return
        hold = task.result()
        if isinstance(hold, Hold):
            hold.settled = True
            call = self._settle_call(hold, hold.at, counted=False, tokens=0, cost=0)
            self._live.pop(hold.id, None)
            _ = self._start(self._run(call))

    async def settle(
        self,
        hold: Hold,
        counted: bool,  # noqa: FBT001  # the contract's order
        tokens: int,
        cost: int,
        now: float,
    ) -> None:
        if hold.settled:
            return
        hold.settled = True
        await asyncio.shield(self._start(self._settle(hold, counted, tokens, cost, now)))

    async def _settle(self, hold: Hold, counted: bool, tokens: int, cost: int, now: float) -> None:  # noqa: FBT001
        try:
            call = self._settle_call(hold, now, counted=counted, tokens=tokens, cost=cost)
            await self._run(call)
        except CountersAwayError:
            hold.settled = False
            raise
        self._live.pop(hold.id, None)

    async def charge(  # noqa: PLR0917  # the contract's order
        self, rule: Rule, at: float, requests: int, tokens: int, cost: int, now: float
    ) -> None:
        await self._run(self._charge_call(rule, at, now, (requests, tokens, cost)), [rule])

    async def fill(
        self, rule: Rule, used: _History, now: float, *, only_missing: bool = False
    ) -> None:
        await self._run(self._fill_call(rule, used, now, only_missing=only_missing))

    async def standing(self, rule: Rule, now: float) -> Standing:
        answer = await self._run(_call("standing", [rule], now), [rule])
        return _standing(rule, now, answer[1])

    async def exists(self, rule: Rule) -> bool:
        return bool((await self._run(_call("exists", [rule], 0)))[0] == b"yes")

    async def forget(self, rule_id: str) -> None:
        try:
            await self._redis.delete(*_keys(rule_id))
        except _LOST as exc:
            raise CountersAwayError(type(exc).__name__) from exc

    async def beat(self, now: float) -> None:
        call = self._beat_call(now)
        if call is not None:
            await self._run(call)

    async def close(self) -> None:
        """Wait for what is under way (a second or two at the most) and close the connections."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()
