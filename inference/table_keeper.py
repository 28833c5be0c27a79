"""Keeps one worker's engine table true: follows the generation counter and asks remote engines."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from core.generations import ENGINES, Generations
from inference.engine_table import EngineTable, Target, names_of
from inference.remote_engines import ASK_EVERY_S, RemoteEngine, all_targets

log = logging.getLogger("gatehouse.engines")
LOOK_EVERY_S = 0.1
READ_EVERY_S = 5.0


class TableKeeper:
    """`load` reads the database off the loop; it is called when the counter moved, or after 5 s."""

    def __init__(
        self,
        table: EngineTable,
        *,
        load: Callable[[], Awaitable[list[Target]]],
        generations: Generations,
        remote: list[RemoteEngine],
    ) -> None:
        self._table = table
        self._load = load
        self._generations = generations
        self._remote = remote
        self._local: list[Target] = []
        self._seen = -1

    async def refresh_if_moved(self) -> None:
        """Read again at once where the counter moved: a caller is waiting for what just changed."""
        now = self._generations.read(ENGINES)
        if now != self._seen:
            with suppress(Exception):  # a busy database: what is known stays true, and is said
                await self.refresh_local()
                self._seen = now

    async def refresh_local(self) -> None:
        self._local = await self._load()
        self._publish()

    async def refresh_remote(self) -> None:
        if self._remote:
            await asyncio.gather(*(engine.ask() for engine in self._remote))
            self._publish()

    def _publish(self) -> None:
        known = names_of(self._local)
        self._table.replace([*self._local, *all_targets(self._remote, known=known)])

    async def follow_local(self) -> None:
        """Until cancelled: read again when the engine process says that something changed."""
        read_at = 0.0
        loop = asyncio.get_running_loop()
        while True:
            now = self._generations.read(ENGINES)
            if now != self._seen or loop.time() - read_at > READ_EVERY_S:
                try:
                    await self.refresh_local()
                    self._seen, read_at = now, loop.time()
                except Exception as exc:  # noqa: BLE001  # a busy database: what is known stays true
                    log.warning("engine table not read: %s", type(exc).__name__)
                    await asyncio.sleep(1)
            await asyncio.sleep(LOOK_EVERY_S)

    async def follow_remote(self) -> None:
        """Until cancelled: ask every remote engine what it serves."""
        while self._remote:
            await self.refresh_remote()
            await asyncio.sleep(ASK_EVERY_S)

    def close(self) -> None:
        for engine in self._remote:
            engine.close()
