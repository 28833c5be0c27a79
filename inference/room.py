"""Room for engines (R-31): who may start, who has to leave for it, and what is said meanwhile.

A model that is wanted starts at once where it fits into the budgets and the number of models. Else
the least recently used idle ones that are not pinned leave, drained; one that is in use stays, unless
an admin set `force_eviction_when_busy`. What can only come by waiting is waited for as the settings
say, then callers learn why. One thread owns it.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from core.memory_budget import budget_bytes, shown_bytes
from inference.engine_limits import Limits
from inference.hardware import host_environment
from inference.machine import gpus, memory
from inference.replicas import ENDED, Replicas
from inference.supervisor import Runner

log = logging.getLogger("gatehouse.engine")
LOOK_SOON_S, ANSWER_S, LOOK_S = 0.25, 2.5, 10.0
FORCED_DRAIN_S = 5.0
RAM = -1  # the pool that is no card
Sizes = Mapping[int, int]


@dataclass(slots=True)
class _Waiting:
    since: float
    tries: int = 0
    tried_at: float = 0.0
    next_at: float = 0.0
    is_next: bool = False  # others are leaving for it


@dataclass(frozen=True, slots=True)
class _Plan:
    """Nothing is `lacking` where the model fits. Else who has to leave, and whether there is hope."""

    lacking: str = ""
    evict: tuple[Replicas, ...] = ()
    hope: Literal["none", "soon", "later"] = "later"


class Room:
    """Keeps `models`, the engines of this machine by model, within what the settings allow.

    `totals` gives the bytes of each card by its number, and of the RAM under `RAM`; `limits` are
    set anew by the owner whenever the settings may have changed.
    """

    def __init__(
        self, models: Mapping[str, Replicas], totals: Callable[[], Sizes] | None = None
    ) -> None:
        self._models = models
        self._totals = totals or machine_totals
        self._waiting: dict[str, _Waiting] = {}
        self._watched_at = 0.0
        self.limits = Limits()

    def want(self, engines: Replicas) -> None:
        """Load a model, now or as soon as there is room."""
        if engines.is_held:
            return
        if engines.state not in ENDED:
            engines.want(self.admits)
            return
        self._waiting.pop(engines.name, None)  # an old wish that was taken back
        waiting = self._waiting[engines.name] = _Waiting(time.monotonic())
        if len(self._waiting) > 1:
            engines.hold("others wait for room before it")  # `tick` asks in the order they came
        else:
            self._try(engines, waiting, waiting.since)

    def offer(self, engines: Replicas) -> None:
        """Load a model that is to be there from the start, where it fits: nobody leaves for it."""
        if lacking := self._lacking(engines, without=()):
            log.warning("%s is not loaded: %s", engines.name, lacking)
            engines.runners[0].say(f"not loaded: {lacking}")
        else:
            engines.want(self.admits)

    def admits(self, runner: Runner) -> bool:
        """Whether one more engine fits as things are; it then has a card, where there are several.

        A model that waits for its first engine comes before a further one of another.
        """
        if self._waiting and runner.replica:
            return False
        pool = self._best_pool(runner, without=())
        if pool is not None and pool[1] < self._need(runner, pool[0]):
            return False
        runner.pool = pool[0] if pool is not None else self._emptiest(runner)
        several = len(self._totals()) > 2  # cards, and the RAM
        runner.card = runner.pool if runner.on_card and several else None
        return True

    def tick(self) -> None:
        """Try again for those who wait; take out what is beyond the limits by now."""
        now, is_blocked = time.monotonic(), False
        for name, waiting in list(self._waiting.items()):
            engines = self._models.get(name)
            if engines is None or not engines.is_held:  # taken back, or deleted
                del self._waiting[name]
                continue
            if is_blocked:  # what becomes free now is for one that came before
                waiting.since = now
            elif now >= min(waiting.next_at, waiting.tried_at + self.limits.retry_interval_s):
                self._try(engines, waiting, now)
            is_blocked = is_blocked or (name in self._waiting and waiting.is_next)
        for engines in self._loaded():
            if self.limits.looks:
                engines.look(now, LOOK_S)
            if self.limits.measures:
                engines.measure(now)
        if now - self._watched_at >= self.limits.interval_s:
            self._watched_at = now
            self._keep_to_limits()

    def _try(self, engines: Replicas, waiting: _Waiting, now: float) -> None:
        waiting.tried_at = now
        plan = self._plan(engines, waiting.since, now)
        if not plan.lacking:
            del self._waiting[engines.name]
            engines.want(self.admits)
            return
        for each in plan.evict:
            is_busy = not each.is_idle_since(waiting.since)
            log.info("%s leaves memory for %s", each.name, engines.name)
            each.drain(
                f"unloaded to make room for {engines.name}",
                limit_s=FORCED_DRAIN_S if is_busy else None,
            )
        is_early = now - waiting.since < ANSWER_S  # engines are still being asked what they do
        is_late = not is_early and waiting.tries >= self.limits.max_retries
        if plan.hope == "none" or (plan.hope == "later" and is_late):
            log.warning("%s is not loaded: %s", engines.name, plan.lacking)
            del self._waiting[engines.name]
            engines.release(plan.lacking)
            return
        engines.hold(plan.lacking)
        waiting.is_next = plan.hope == "soon"
        if plan.hope == "soon" or is_early:
            waiting.next_at = now + LOOK_SOON_S
        else:
            waiting.tries += 1
            waiting.next_at = now + self.limits.retry_interval_s

    def _plan(self, engines: Replicas, since: float, now: float) -> _Plan:
        lacking = self._lacking(engines, without=())
        if not lacking:
            return _Plan()
        others = [each for each in self._loaded() if each is not engines]
        leaving = [each for each in others if each.is_leaving]
        if not self._lacking(engines, without=leaving):
            return _Plan(lacking, hope="soon")
        movable = [each for each in others if not each.model.pinned]
        if self._lacking(engines, without=[*leaving, *movable]):
            return _Plan(lacking, hope="none")
        for each in movable:
            each.look(now, LOOK_SOON_S)
        staying = [each for each in movable if not each.is_leaving and each.is_settled(now)]
        idle = [each for each in staying if each.is_idle_since(since)]
        order = sorted(idle, key=lambda each: each.used_at)
        if self.limits.force_when_busy and now - since >= ANSWER_S:
            busy = [each for each in staying if each not in idle]
            order += sorted(busy, key=lambda each: each.used_at)
        gone: list[Replicas] = []
        for each in order:
            gone.append(each)
            if not self._lacking(engines, without=[*leaving, *gone]):
                return _Plan(lacking, self._needed(engines, leaving, gone), hope="soon")
        return _Plan(lacking)

    def _needed(
        self, engines: Replicas, leaving: list[Replicas], gone: list[Replicas]
    ) -> tuple[Replicas, ...]:
        """Those of `gone` without whom it does not do: some are on another card."""
        kept = list(gone)
        for each in gone:
            rest = [other for other in kept if other is not each]
            if not self._lacking(engines, without=[*leaving, *rest]):
                kept = rest
        return tuple(kept)

    def _lacking(self, engines: Replicas, *, without: Collection[Replicas]) -> str:
        """Why a first engine of the model has no room if `without` were gone; nothing if it has."""
        loaded = [x for x in self._loaded() if x is not engines and x not in without]
        most = self.limits.max_models
        if most and len(loaded) >= most:
            return f"{most} model{'s' * (most > 1)} may be loaded at once (max_active_backends)"
        runner = engines.runners[0]
        pool = self._best_pool(runner, without=without)
        if pool is None:
            return ""
        place, free = pool
        need = self._need(runner, place)
        if need <= free:
            return ""
        budget = shown_bytes(self._budgets(runner)[place])
        where = "RAM" if place == RAM else "graphics card"
        have = shown_bytes(max(0, free))
        return f"needs {shown_bytes(need)}, {have} is free within the budget of {budget} ({where})"

    def _emptiest(self, runner: Runner) -> int:
        """Where the engine goes without a budget; it counts there as soon as one is set."""
        sizes = {place: self._totals()[place] for place in self._places(runner)}
        pool = self._best_pool(runner, without=(), sizes=sizes) if len(sizes) > 1 else None
        return pool[0] if pool is not None else next(iter(sizes))

    def _best_pool(
        self, runner: Runner, *, without: Collection[Replicas], sizes: Sizes | None = None
    ) -> tuple[int, int] | None:
        """(pool, bytes free in it) where the engine has most room; None without a budget.

        `sizes` are those of the pools where it is not the budgets that count.
        """
        free = dict(self._budgets(runner) if sizes is None else sizes)
        for engines in self._loaded():
            if engines in without:
                continue
            for each in engines.everyone:
                place = each.pool if each is not runner else None
                if place in free and each.takes_memory:
                    free[place] -= self._need(each, place)
        return max(free.items(), key=lambda item: item[1]) if free else None

    def _budgets(self, runner: Runner) -> dict[int, int]:
        """The budgets that the engine may be in: its card's, whichever, or that of the RAM."""
        limits, totals = self.limits, self._totals()
        found = {
            place: budget_bytes(
                limits.ram_budget if place == RAM else limits.vram_budget, totals[place]
            )
            for place in self._places(runner)
        }
        return {place: size for place, size in found.items() if size is not None}

    def _places(self, runner: Runner) -> list[int]:
        """The pools that the engine may be in: each card, or the RAM."""
        cards = [place for place in self._totals() if place != RAM]
        return cards if runner.on_card and cards else [RAM]

    def _need(self, runner: Runner, place: int) -> int:
        return runner.needed_bytes(None if place == RAM else self._totals()[place])

    def _loaded(self) -> list[Replicas]:
        return [each for each in self._models.values() if each.is_loaded]

    def _keep_to_limits(self) -> None:
        """One idle model leaves where there are more than may be, or where the memory runs full."""
        loaded = self._loaded()
        if any(each.is_leaving for each in loaded):
            return
        too_many = 0 < self.limits.max_models < len(loaded)
        if not too_many and not self._is_full():
            return
        now, idle = time.monotonic(), []
        for each in loaded:
            each.look(now, LOOK_SOON_S)  # answered by the next time
            is_known = each.is_idle_since(now - 1.5 * self.limits.interval_s - LOOK_SOON_S)
            if is_known and each.is_settled(now) and not each.model.pinned:
                idle.append(each)
        if idle:
            first = min(idle, key=lambda each: each.used_at)
            why = "too many models are loaded" if too_many else "the memory is nearly full"
            log.info("%s leaves memory: %s", first.name, why)
            first.drain(f"unloaded: {why}")

    def _is_full(self) -> bool:
        threshold = self.limits.reclaims_above
        return threshold is not None and memory_used() > threshold


@cache
def machine_totals() -> Sizes:
    """Bytes of each card that engines may use, and of the RAM; as it was at the first look.

    Where this process's own environment names one card, there is no other.
    """
    named = host_environment().get("CUDA_VISIBLE_DEVICES", "").split(",")
    cards = {card.index: card.total_vram for card in gpus()}
    visible = {index: size for index, size in cards.items() if str(index) in named} or cards
    return {RAM: memory()["total"], **visible}


def memory_used() -> float:
    """The share of the memory in use: of the fullest card where there is one, else of the RAM."""
    cards = gpus()
    if cards:
        return max(card.usage_percent for card in cards) / 100
    return float(memory()["usage_percent"]) / 100
