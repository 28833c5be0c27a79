"""What one web worker tells `/metrics` once a second, behind the requests: call times, waiting
requests, remote engines. No Django.
"""

import asyncio
from collections import Counter
from contextlib import suppress

from prometheus_client import Gauge

from core import call_times
from inference.engine_table import EngineTable

PUBLISH_EVERY_S = 1.0
WAITING = Gauge(
    "gatehouse_waiting_requests",
    "Requests that wait for a place at an engine, over all web workers",
    ["engine"],
    multiprocess_mode="livesum",
    registry=None,
)
REMOTE_ENGINES = Gauge(
    "gatehouse_remote_engines",
    "Models on remote engines, by state",
    ["state"],
    multiprocess_mode="livemostrecent",  # every worker asks them for itself
    registry=None,
)


class WorkerMetrics:
    """Reads one worker's engine table; labels are names of models, never addresses."""

    def __init__(self, table: EngineTable) -> None:
        self._table = table
        self._engines: set[str] = set()
        self._states: set[str] = set()

    async def follow(self) -> None:
        """Until cancelled: publish once a second."""
        while True:
            self.publish()
            await asyncio.sleep(PUBLISH_EVERY_S)

    def publish(self) -> None:
        """Write it all now; what the disk has no room for is left out."""
        call_times.publish()
        with suppress(OSError):
            waiting = self._table.waiting()
            self._engines |= waiting.keys()
            for engine in self._engines:  # one that went away says 0 from then on
                WAITING.labels(engine).set(waiting.get(engine, 0))
            remote = Counter[str](t.state for t in self._table.targets.values() if t.remote)
            self._states |= remote.keys()
            for state in self._states:
                REMOTE_ENGINES.labels(state).set(remote[state])
