"""Keeps one worker's terms true: reads rules and prices when they moved, and refreshes its holds."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from core.generations import TERMS, Generations
from usage.quotas.limiter import Limiter, Terms

log = logging.getLogger("gatehouse.quotas")
LOOK_EVERY_S, READ_EVERY_S, BEAT_EVERY_S = 0.05, 30.0, 15.0


class TermsKeeper:
    """`load` reads the database off the loop."""

    def __init__(
        self,
        limiter: Limiter,
        *,
        load: Callable[[], Awaitable[Terms]],
        generations: Generations,
    ) -> None:
        self._limiter = limiter
        self._load = load
        self._generations = generations
        self._seen = -1

    async def refresh(self) -> None:
        moved = self._generations.read(TERMS)
        self._limiter.terms = await self._load()
        self._limiter.is_stale = False
        self._seen = moved

    async def follow(self) -> None:
        """Until cancelled: read again where the counter moved, and every half minute."""
        loop = asyncio.get_running_loop()
        read_at = loop.time()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self._limiter.pay()
            now = loop.time()
            moved = self._generations.read(TERMS) != self._seen or self._limiter.is_stale
            if moved or now - read_at > READ_EVERY_S:
                try:
                    await self.refresh()
                    read_at = now
                except Exception as exc:  # noqa: BLE001  # a busy database: what is known stays true
                    log.warning("quota rules were not read: %s", type(exc).__name__)
                    await asyncio.sleep(1)

    async def beat(self) -> None:
        """Until cancelled: say that this process lives, whatever reading the rules has to wait for."""
        while True:
            await asyncio.sleep(BEAT_EVERY_S)
            await self._limiter.beat()
