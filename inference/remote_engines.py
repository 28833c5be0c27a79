"""Engines elsewhere (`LOCALAI_ENGINES`): what they list, asked again and again behind the requests."""

import asyncio
import logging
from collections.abc import Container, Iterable
from dataclasses import replace

from core.errors import EngineFailedError, GatehouseError
from inference.engine_table import Target
from inference.families.base import loads
from inference.upstream import EngineClient

log = logging.getLogger("gatehouse.engines")
ASK_EVERY_S = 5.0


class RemoteEngine:
    """One item of the setting: its name where it has one, its address, what it listed last."""

    def __init__(self, name: str, url: str, key: str) -> None:
        self.name = name
        self.url = url
        self._client = EngineClient(url, key=key)
        self.targets: list[Target] = []
        self._context_lengths: dict[str, int] = {}
        if name:
            self.targets = [self._target(name, name, ready=False)]

    def _target(self, name: str, served: str, *, ready: bool) -> Target:
        message = "" if ready else f"{self.name or 'the engine'} does not answer"
        return Target(
            name,
            served,
            self.url,
            "ready" if ready else "loading",
            remote=True,
            message=message,
            context_length=self._context_lengths.get(served, 0),
        )

    async def ask(self) -> None:
        """Read `/v1/models`; one that does not answer keeps its names, as loading."""
        try:
            async with asyncio.timeout(5):
                response = await self._client.request(b"GET", b"/v1/models")
                try:
                    if response.status != 200:
                        raise EngineFailedError
                    listed = loads(await response.read()).get("data")
                finally:
                    response.close()
        except (GatehouseError, TimeoutError) as exc:
            if any(target.state == "ready" for target in self.targets):
                log.warning(
                    "engine %s does not answer: %s", self.name or self.url, type(exc).__name__
                )
            self.targets = [self._target(t.name, t.served_model, ready=False) for t in self.targets]
            return
        items = [
            item
            for item in (listed if isinstance(listed, list) else [])
            if isinstance(item, dict) and item.get("id")
        ]
        self._context_lengths = {
            str(item["id"]): length
            for item in items
            if type(length := item.get("max_model_len")) is int and length > 0
        }
        self.targets = self._named([str(item["id"]) for item in items])

    def _named(self, names: list[str]) -> list[Target]:
        """With a name: that model if it is listed, else the only one there is (S-09)."""
        if not self.name:
            return [self._target(name, name, ready=True) for name in names]
        if self.name in names:
            return [self._target(self.name, self.name, ready=True)]
        if len(names) == 1:
            return [self._target(self.name, names[0], ready=True)]
        return [self._target(self.name, self.name, ready=False)]

    def close(self) -> None:
        self._client.close()


def all_targets(engines: Iterable[RemoteEngine], *, known: Container[str]) -> list[Target]:
    """The models of all remote engines: one that several serve once, with all their addresses.

    Names that are `known`, as those of models here, are left out.
    """
    by_name: dict[str, list[Target]] = {}
    for engine in engines:
        for target in engine.targets:
            if target.name not in known:
                by_name.setdefault(target.name, []).append(target)
    return [_together(targets) for targets in by_name.values()]


def _together(targets: list[Target]) -> Target:
    """Several addresses of one model: those that serve, else the first that does not.

    Where an engine calls the model differently, that name is the target's own `served_model`: what
    is answered by the others is renamed as well, which changes nothing.
    """
    serving = {target.address: target for target in targets if target.state == "ready"}
    if len(serving) <= 1:
        return next(iter(serving.values()), targets[0])
    each = list(serving.values())
    first = next((t for t in each if t.served_model != t.name), each[0])
    lengths = [t.context_length for t in each if t.context_length]
    return replace(
        first,
        addresses=(first.address, *(a for a in serving if a != first.address)),
        names={a: t.served_model for a, t in serving.items()},
        context_length=min(lengths, default=0),
    )
