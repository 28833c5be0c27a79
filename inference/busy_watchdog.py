"""The busy watchdog's first half (R-33), in each web worker: the request that ran too long is ended.

Closing its connection makes the engine give it up. An engine that stays busy all the same is the
engine process's to start again (inference.replicas). No Django.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from inference.engine_table import EngineTable

log = logging.getLogger("gatehouse.engines")
LOOK_S = 0.25


class BusyWatchdog:
    """`limits` gives (how long a request may run, how often to look), in seconds; None is no limit."""

    def __init__(
        self, table: EngineTable, limits: Callable[[], tuple[float | None, float]]
    ) -> None:
        self._table = table
        self._limits = limits
        self._looked_at = 0.0

    async def follow(self) -> None:
        """Until cancelled: look as often as the settings say, by those of the moment."""
        while True:
            limit_s, every_s = self._limits()
            if limit_s is not None and time.monotonic() - self._looked_at >= every_s:
                self._looked_at = time.monotonic()
                self.look(limit_s)
            await asyncio.sleep(LOOK_S)

    def look(self, limit_s: float) -> None:
        """End at each engine the request that has run longest, if that is longer than `limit_s`."""
        for name, ran_s in self._table.abort_longest(limit_s):
            log.warning("a request to %s was ended: it had run for %.0f s", name, ran_s)
