"""What goes wrong, at random: processes of a server that are killed, a database that is away."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress

from tests.postgresql import Cluster
from tests.servers import Server

AWAY_S = (4.0, 25.0)
UP_S = 30.0  # so long workers may take to come up again on a busy machine
KNOWN_S = 3.0  # so long nothing falls before the database goes, and every worker knows some callers
# A process that holds SQLite's lock dies with its parent's pipe, whatever happens to this one.
_HOLD = """
import select, sqlite3, sys
base = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
base.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
select.select([sys.stdin], [], [], 60)
base.execute("ROLLBACK")
"""


class Monkey:
    """Does its worst for as long as it is told. `away` holds when the database was not there."""

    def __init__(self, server: Server, cluster: Cluster | None, seed: int) -> None:
        self._server, self._cluster = server, cluster
        self._chance = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.away: list[tuple[float, float]] = []

    def rage(self, seconds: float) -> None:
        """Kill something every second or three; the database is away about a third of the time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > AWAY_S[0]:
            self._calm(min(left, self._chance.uniform(5, 15)))
            self._rest()
            left = until - time.monotonic()
            if left > AWAY_S[0]:
                self._without_database(min(left, self._chance.uniform(*AWAY_S)))
        time.sleep(max(0.0, until - time.monotonic()))

    def _calm(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(self._chance.uniform(0.5, 3))
            self._kill_something()

    def _rest(self) -> None:
        """Workers that all fell just now are up again, and know whom they are to serve from memory."""
        self._server.until(self._server.answers, UP_S)
        time.sleep(KNOWN_S)

    def _kill_something(self) -> None:
        what = self._chance.choices(["worker", "all workers", "background"], [6, 1, 3])[0]
        pids = self._server.processes("runbackground")
        if what != "background":
            pids = self._server.web_workers()
            if what == "worker":
                pids = self._chance.sample(pids, min(1, len(pids)))
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.done[what] += bool(pids)

    def _without_database(self, seconds: float) -> None:
        """Away, and meanwhile a worker or the background process falls, too."""
        self.done["database"] += 1
        if self._cluster is None:
            self._with_lock(seconds)
            return
        self._cluster.kill()
        began = time.time()
        try:
            self._bide(seconds)
        finally:
            self.away.append((began, time.time()))
            self._cluster.start()

    def _with_lock(self, seconds: float) -> None:
        path = self._server.folder / "data" / "database.db"
        command = [sys.executable, "-c", _HOLD, str(path)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as holder:
            try:
                assert holder.stdout.readline() == "held\n"
                began = time.time()
                self._bide(seconds)
                self.away.append((began, time.time()))
            finally:
                holder.stdin.close()
                holder.wait(30)

    def _bide(self, seconds: float) -> None:
        time.sleep(seconds / 2)
        self._kill_something()
        time.sleep(seconds / 2)
