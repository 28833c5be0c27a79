"""Keeps one worker's lane true to the settings: reads them when they moved, off the loop."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from accounts.runtime_settings.held import Held, Stored

log = logging.getLogger("gatehouse.settings")
LOOK_EVERY_S, READ_EVERY_S, AFTER_FAILURE_S = 0.05, 30.0, 1.0


class SettingsKeeper:
    """`load` refreshes `held` off the loop; `apply` hands what the lane keeps for itself over to it."""

    def __init__(
        self, held: Held, *, load: Callable[[], Awaitable[None]], apply: Callable[[], None]
    ) -> None:
        self._held = held
        self._load = load
        self._apply = apply
        self._applied: Stored | None = None

    async def refresh(self) -> None:
        await self._load()
        self._hand_over()

    def _hand_over(self) -> None:
        known = self._held.known()  # the slow door of this process may have read it, too
        if known is not self._applied:
            self._apply()
            self._applied = known

    async def follow(self) -> None:
        """Until cancelled: read again where the counter moved, and every half minute."""
        loop = asyncio.get_running_loop()
        read_at = loop.time()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                if self._held.is_stale() or loop.time() - read_at > READ_EVERY_S:
                    await self.refresh()
                    read_at = loop.time()
                else:
                    self._hand_over()
            except Exception as exc:  # noqa: BLE001  # a busy database: what is known stays true
                log.warning("settings were not read: %s", type(exc).__name__)
                await asyncio.sleep(AFTER_FAILURE_S)
