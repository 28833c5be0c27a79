"""Which models there are and where each is served, as one worker knows it.

Filled behind the requests (`inference.engine_rows`), read on their way: no query, no hop. One
resolver of the model's name serves gate, limits and forwarding (W-09).
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from core.errors import (
    EngineFailedError,
    GatehouseError,
    InvalidRequestError,
    ModelLoadingError,
    ModelNotFoundError,
    UnavailableError,
)
from inference.engine_client import EngineClient
from inference.fair_queue import FairQueue

State = Literal["ready", "loading", "failed", "stopped"]
MAX_WAITING = 256
CONCURRENCY = 256
MAX_MODEL_NAME = 255


@dataclass(slots=True)
class Target:
    """One model that callers may name.

    `served_model` is what the engine calls it; `progress` 0 to 100; `retry_after_s` when to ask
    again while it loads; `concurrency` how many requests its engine works on at once and
    `context_length` how many tokens prompt and completion have together, 0 where nobody says.
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
    hold_s: float = 0.0


class Desk:
    """One engine's client, and this worker's share of the engine's places."""

    __slots__ = ("client", "places")

    def __init__(self, client: EngineClient, places: FairQueue) -> None:
        self.client = client
        self.places = places

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
    _desks: dict[str, Desk] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def replace(self, targets: list[Target]) -> None:
        """Take over a new list; clients of addresses that went away are closed when idle.

        Who waits at an engine that is no longer ready is sent away, to learn why (`why_not`).
        """
        self.targets = {target.name: target for target in targets}
        addresses = {target.address for target in targets}
        for address in [a for a in self._desks if a not in addresses]:
            self._desks.pop(address).close()
        ready = {target.address: target for target in targets if target.state == "ready"}
        for address, desk in self._desks.items():
            if (target := ready.get(address)) is None:
                desk.places.close()
            else:
                desk.places.resize(self._share(target))
        self._changed.set()
        self._changed = asyncio.Event()

    def find(self, name: str | None, capability: str) -> Target:
        """The model that a caller means; without a name the default, then the first that fits.

        Raises ModelNotFoundError or InvalidRequestError.
        """
        if name is None:
            return self._default(capability)
        target = self.targets.get(name)
        if target is None:
            shown = name if len(name) <= 100 else name[:100] + "…"
            raise ModelNotFoundError(
                f'model "{shown}" not found. To see available models, call GET /v1/models',
                param="model",
            )
        return target

    def _default(self, capability: str) -> Target:
        fitting = [t for t in self.targets.values() if capability in t.capabilities]
        for target in fitting:
            if target.is_default:
                return target
        for target in fitting or (t for t in self.targets.values() if t.remote):
            return target
        raise InvalidRequestError(
            "No model is named, and none is installed for this.", param="model"
        )

    async def ready(self, target: Target, wait_s: float) -> Target:
        """`target` once it serves; waits up to `wait_s` for one that loads (R-34).

        Raises ModelLoadingError with the loading object, EngineFailedError for one that gave up.
        """
        deadline = asyncio.get_running_loop().time() + max(wait_s, target.hold_s)
        while target.state != "ready":
            left_s = deadline - asyncio.get_running_loop().time()
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
            target = self.targets.get(target.name, target)
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

    async def taken_over(self, target: Target) -> Target | None:
        """Where the model of `target` is served now that its engine was replaced; None where nothing
        took over. An upgrade of its backend sends nobody away who stood in line (R-33).
        """
        now = self.targets.get(target.name)
        if now is None:
            return None
        is_held = now.hold_s > 0
        if is_held:
            with suppress(GatehouseError):
                now = await self.ready(now, 0.0)
        return now if now.state == "ready" and (is_held or now.address != target.address) else None

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
        """The client and the places of a target's engine."""
        desk = self._desks.get(target.address)
        if desk is None:
            key = self.engines_key if target.remote else ""
            places = FairQueue(self._share(target), self.max_waiting, by_user=self.by_user)
            desk = self._desks[target.address] = Desk(EngineClient(target.address, key=key), places)
        return desk

    def waiting(self) -> dict[str, int]:
        """How many requests wait at each engine, by its name: that of its first model."""
        names: dict[str, str] = {}
        for target in self.targets.values():
            names[target.address] = min(target.name, names.get(target.address, target.name))
        return {names[at]: desk.places.waiting for at, desk in self._desks.items() if at in names}

    def close(self) -> None:
        for desk in self._desks.values():
            desk.close()
        self._desks.clear()
