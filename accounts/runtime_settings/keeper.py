"""Keeps one worker's lane true to the settings: reads them when they moved, off the loop."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from accounts.runtime_settings.held import AGAIN_S, Held, Stored

log = logging.getLogger("gatehouse.settings")
LOOK_EVERY_S, READ_EVERY_S, WAIT_S = 0.05, 30.0, 0.25


class SettingsKeeper:
    """`load` refreshes `held` off the loop; `apply` hands what the lane keeps for itself over to it."""

    def __init__(
        self, held: Held, *, load: Callable[[], Awaitable[None]], apply: Callable[[], None]
    ) -> None:
        self._held = held
        self._load = load
        self._apply = apply
        self._applied: Stored | None = None
        self._reading: asyncio.Task[None] | None = None
        self._not_before = 0.0

    async def refresh(self) -> None:
        await self._load()
        self._hand_over()

    def _hand_over(self) -> None:
        known = self._held.known()  # the slow door of this process may have read it, too
        if known is not self._applied:
            self._apply()
            self._applied = known

    async def catch_up(self) -> None:
        """For a request that finds a change to be read: wait for it, a quarter of a second at most.

        All that wait share one reading. Where the database is away what is known stays true.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + WAIT_S
        while self._held.is_stale() and self._not_before <= loop.time() < until:
            await asyncio.wait({self._read()}, timeout=until - loop.time())

    def _read(self) -> asyncio.Task[None]:
        if self._reading is None or self._reading.done():
            loop = asyncio.get_running_loop()
            self._reading = loop.create_task(self._read_quietly(), name="settings")
        return self._reading

    async def _read_quietly(self) -> None:
        try:
            await self.refresh()
        except Exception as exc:  # noqa: BLE001  # a busy database: what is known stays true
            log.warning("settings were not read: %s", type(exc).__name__)
            self._not_before = asyncio.get_running_loop().time() + AGAIN_S

    async def follow(self) -> None:
        """Until cancelled: read again where the counter moved, and every half minute."""
        loop = asyncio.get_running_loop()
        read_at = loop.time()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if loop.time() < self._not_before:
                continue
            if self._held.is_stale() or loop.time() - read_at > READ_EVERY_S:
                await asyncio.wait({self._read()})
                read_at = loop.time()
            else:
                self._hand_over()
