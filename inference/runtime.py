"""What the inference path holds while a process lives: resolver, meter, engines, limits."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from accounts.gate import Exemptions
from core.principal import Principal
from core.response_headers import HostRules, OriginRules
from core.trace import Tracing
from inference.engine_table import EngineTable
from usage.metering import Meter
from usage.quotas.limiter import Limiter

Recall = Callable[[dict[bytes, bytes]], Principal | None]
Resolve = Callable[[dict[bytes, bytes]], Awaitable[Principal | None]]
# (response id, user id) -> stored response and its input, or None
LoadStored = Callable[[str, str], Awaitable[dict[str, Any] | None]]


def _nobody(_headers: dict[bytes, bytes]) -> None:
    """Nobody is remembered."""


@dataclass(slots=True)
class Runtime:
    """Made by `localai_project.asgi` for the lane, and by the Django adapter for its door."""

    resolve: Resolve
    meter: Meter
    engines: EngineTable
    load_stored: LoadStored
    want_model: Callable[[str], None]
    hosts: HostRules
    origins: OriginRules
    body_limit: int
    recall: Recall = _nobody  # what `resolve` would say, where nothing has to be waited for
    opaque_errors: bool = False
    check_origin: bool = True
    own_netlocs: frozenset[bytes] = frozenset()
    exemptions: Exemptions = field(default_factory=Exemptions)
    refresh_engines: Callable[[], Awaitable[None]] | None = None
    limiter: Limiter | None = None
    tracing: Tracing | None = None
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run `work` behind the request; kept until it ends, awaited at shutdown."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def finish(self, timeout_s: float = 10.0) -> None:
        """Wait for what runs behind requests, then let go of engines and journal."""
        if self.tasks:
            _, late = await asyncio.wait(self.tasks, timeout=timeout_s)
            for task in late:
                task.cancel()  # it settles what it was counting
            await asyncio.gather(*late, return_exceptions=True)
        self.engines.close()
        self.meter.journal.close()
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)
