"""Which models there are and where each is served, as one worker knows it.

Filled behind the requests (`inference.engine_rows`), read on their way: no query, no hop. One
resolver of the model's name serves gate, limits and forwarding (W-09).
"""

import asyncio
import time
from collections.abc import Callable, Collection, Container, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from core.errors import (
    EngineFailedError,
    GatehouseError,
    InvalidRequestError,
    ModelDisabledError,
    ModelLoadingError,
    ModelNotFoundError,
    UnavailableError,
)
from inference.fair_queue import FairQueue
from inference.upstream import EngineClient

State = Literal["ready", "loading", "failed", "stopped"]
MAX_WAITING = 256
CONCURRENCY = 256
MAX_MODEL_NAME = 255
AVOIDED_S = 5.0  # until then the engine process, or the next look at a remote one, says what it is


@dataclass(slots=True)
class Target:
    """One model that callers may name.

    `served_model` is what the engine calls it; `progress` 0 to 100; `retry_after_s` when to ask
    again while it loads; `concurrency` how many requests its engine works on at once and
    `context_length` how many tokens prompt and completion have together, 0 where nobody says.
    `addresses` are all of several that serve it, the first among them, and empty where there is
    one; `names` what those engines call it that do not call it `served_model`.
    `aliases` are its other names; one that is `disabled` serves nobody, and admins still see it.
    Callers wait `hold_s` for it at least, while its backend is upgraded in its place (R-33).
    """

    name: str
    served_model: str
    address: str
    state: State
    capabilities: frozenset[str] = frozenset()
    is_default: bool = False
    remote: bool = False
    message: str = ""
    progress: int = 0
    retry_after_s: int = 5
    concurrency: int = 0
    context_length: int = 0
    backend: str = ""
    addresses: tuple[str, ...] = ()
    names: dict[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    disabled: bool = False
    pinned: bool = False
    hold_s: float = 0.0

    def name_at(self, address: str) -> str:
        """What the engine at one of the addresses calls it."""
        return self.names.get(address, self.served_model)


def names_of(targets: Iterable[Target]) -> set[str]:
    """Every name that means one of them."""
    return {name for target in targets for name in (target.name, *target.aliases)}


class Desk:
    """One engine's client, and this worker's share of the engine's places.

    An engine that was found to be down is `avoided` for a while, where there is another.
    """

    __slots__ = ("avoided_until", "client", "places")

    def __init__(self, client: EngineClient, places: FairQueue) -> None:
        self.client = client
        self.places = places
        self.avoided_until = 0.0

    def avoid(self) -> None:
        self.avoided_until = time.monotonic() + AVOIDED_S

    @property
    def is_avoided(self) -> bool:
        return self.avoided_until > 0 and time.monotonic() < self.avoided_until

    def close(self) -> None:
        self.places.close()
        self.client.close()


@dataclass(slots=True)
class EngineTable:
    """The targets by name, and a client per address.

    `max_waiting` requests of this worker wait at each engine; `concurrency` is what an engine works
    on at once where its target does not say, of which each of `workers` takes its share.
    """

    engines_key: str = ""
    max_waiting: int = MAX_WAITING
    concurrency: int = CONCURRENCY
    workers: int = 1
    by_user: bool = True
    targets: dict[str, Target] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    _desks: dict[str, Desk] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _turn: int = 0

    def replace(self, targets: list[Target]) -> None:
        """Take over a new list; clients of addresses that went away are closed when idle.

        Who waits at an engine that is no longer ready is sent away, to learn why (`why_not`).
        """
        self.targets = {target.name: target for target in targets}
        self.aliases = {alias: target.name for target in targets for alias in target.aliases}
        addresses = {address for target in targets for address in all_of(target)}
        for address in [a for a in self._desks if a not in addresses]:
            self._desks.pop(address).close()
        ready = {
            address: target
            for target in targets
            if target.state == "ready"
            for address in all_of(target)
        }
        for address, desk in self._desks.items():
            if (target := ready.get(address)) is None:
                desk.places.close()
            else:
                desk.places.resize(self._share(target))
        self._changed.set()
        self._changed = asyncio.Event()

    def own_name(self, name: str) -> str:
        """What the model is called by which rights, quotas and books know it: `name`, or whose alias
        that is (W-09). A model's own name comes first.
        """
        return name if name in self.targets else self.aliases.get(name, name)

    def find(self, name: str | None, capability: str) -> Target:
        """The model that a caller means; without a name the default, then the first that fits.

        Raises ModelNotFoundError, ModelDisabledError or InvalidRequestError.
        """
        if name is None:
            return self._default(capability)
        target = self.targets.get(name) or self.targets.get(self.aliases.get(name, ""))
        if target is None:
            shown = name if len(name) <= 100 else name[:100] + "…"
            raise ModelNotFoundError(
                f'model "{shown}" not found. To see available models, call GET /v1/models',
                param="model",
            )
        if target.disabled:
            raise ModelDisabledError(f"model {name} is disabled", param="model")
        return target

    def _default(self, capability: str) -> Target:
        enabled = [t for t in self.targets.values() if not t.disabled]
        fitting = [t for t in enabled if capability in t.capabilities]
        for target in fitting:
            if target.is_default:
                return target
        for target in fitting or (t for t in enabled if t.remote):
            return target
        raise InvalidRequestError(
            "No model is named, and none is installed for this.", param="model"
        )

    async def ready(
        self, target: Target, wait_s: float, want: Callable[[str], None] | None = None
    ) -> Target:
        """`target` once it serves; waits up to `wait_s` for one that loads (R-34).

        One that turns out not to be loaded meanwhile is asked for by `want`.
        Raises ModelLoadingError with the loading object, EngineFailedError for one that gave up,
        ModelDisabledError for one that was switched off meanwhile.
        """
        deadline = asyncio.get_running_loop().time() + max(wait_s, target.hold_s)
        while target.state != "ready":
            left_s = deadline - asyncio.get_running_loop().time()
            if target.disabled:  # while we waited
                raise ModelDisabledError(f"model {target.name} is disabled", param="model")
            if target.state == "failed":
                raise EngineFailedError(
                    f"The engine of {target.name} does not start: {target.message}", status=503
                )
            if left_s <= 0:
                raise self._loading(target)
            try:
                async with asyncio.timeout(left_s):
                    await self._changed.wait()
            except TimeoutError:
                continue
            before, target = target.state, self.targets.get(target.name, target)
            stopped = target.state == "stopped" and before != "stopped"
            if want is not None and stopped and not target.disabled:
                want(target.name)
        return target

    @staticmethod
    def _loading(target: Target) -> ModelLoadingError:
        loading = {
            "model": target.name,
            "state": target.state,
            "message": target.message,
            "progress": target.progress,
        }
        return ModelLoadingError(
            f"{target.name} is loading: {target.message or 'starting'}",
            retry_after_s=target.retry_after_s,
            extra={"loading": loading},
        )

    async def taken_over(self, target: Target, gone: Collection[str]) -> Target | None:
        """Where the model of `target` is served besides the addresses that are `gone`; None if nowhere.

        Who stood in line at an engine that another one replaced is not sent away: an upgrade of its
        backend drops nobody (R-33). One that is upgraded in its place is waited for.
        """
        now = self.targets.get(target.name)
        if now is None:
            return None
        is_held = now.hold_s > 0
        if is_held:
            with suppress(GatehouseError):
                now = await self.ready(now, 0.0)
        is_there = now.state == "ready" and not now.disabled
        return now if is_there and (is_held or set(all_of(now)) - set(gone)) else None

    async def why_not(self, name: str) -> GatehouseError:
        """The error of a caller who was sent away from the engine of `name`: what it would get now."""
        try:
            await self.ready(self.find(name, ""), 0.0)
        except GatehouseError as exc:
            return exc
        return UnavailableError(f"{name} was started anew; send the request again", retry_after_s=1)

    def _share(self, target: Target) -> int:
        """This worker's part of the engine's places, rounded up so that none is left unused."""
        return -(-(target.concurrency or self.concurrency) // self.workers)

    def desk(self, target: Target) -> Desk:
        """The client and the places of a target's engine; of several the least busy one's."""
        if target.addresses:
            return self.least_busy(target) or self._at(target.address, target)
        return self._desks.get(target.address) or self._at(target.address, target)

    def _at(self, address: str, target: Target) -> Desk:
        desk = self._desks.get(address)
        if desk is None:
            key = self.engines_key if target.remote else ""
            places = FairQueue(self._share(target), self.max_waiting, by_user=self.by_user)
            desk = self._desks[address] = Desk(EngineClient(address, key=key), places)
        return desk

    def least_busy(self, target: Target, without: Container[str] = ()) -> Desk | None:
        """Of several engines the one with the fewest requests of this worker, in it and in line.

        Among equals they take turns, so that workers with one request each do not all choose the
        first. One that was found to be down comes last. None where `without` holds all of them.
        """
        self._turn += 1
        best, fewest = None, (True, 0)
        n = len(target.addresses)
        for i in range(n):
            address = target.addresses[(self._turn + i) % n]
            if address in without:
                continue
            desk = self._at(address, target)
            busy = (desk.is_avoided, desk.places.held + desk.places.waiting)
            if best is None or busy < fewest:
                best, fewest = desk, busy
        return best

    def _names(self) -> dict[str, str]:
        """The name of the engine at each address: that of its first model."""
        names: dict[str, str] = {}
        for target in self.targets.values():
            for address in all_of(target):
                names[address] = min(target.name, names.get(address, target.name))
        return names

    def abort_longest(self, limit_s: float) -> list[tuple[str, float]]:
        """End at each engine the longest request, if longer than `limit_s`: (name, seconds it ran)."""
        ended = []
        for address, desk in self._desks.items():
            if (ran_s := desk.client.abort_longest(limit_s)) is not None:
                ended.append((self._names().get(address, "an engine"), ran_s))
        return ended

    def waiting(self) -> dict[str, int]:
        """How many requests wait at each engine, by its name."""
        names = self._names()
        found: dict[str, int] = {}
        for at, desk in self._desks.items():
            if at in names:
                found[names[at]] = found.get(names[at], 0) + desk.places.waiting
        return found

    def close(self) -> None:
        for desk in self._desks.values():
            desk.close()
        self._desks.clear()


def all_of(target: Target) -> tuple[str, ...]:
    """Every address of a target."""
    return target.addresses or (target.address,)
