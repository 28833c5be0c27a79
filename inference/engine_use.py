"""When an engine was last used, as its own counters tell: no request pays for that."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from inference.sockets import read_metrics

RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
DONE = "vllm:request_success_total"
TIMEOUT_S = 2.0


class Use:
    """What one engine's counters said at the last look. Times are `time.monotonic`.

    `at` is when it was last known to be used, `done_at` when it last ended a request or had none,
    `known_at` when it last told anything. One thread owns it; the asking is done by `probes`.
    """

    def __init__(self, socket: Path, probes: ThreadPoolExecutor) -> None:
        self._socket = socket
        self._probes = probes
        self._asked: Future[dict[str, float] | None] | None = None
        self._asked_at = 0.0
        self._done = -1.0
        self.at = self.done_at = self.known_at = 0.0
        self.n_requests = 0.0

    def begin(self, now: float) -> None:
        """The engine has just become ready: that counts as its first use."""
        self._asked, self._done, self.n_requests = None, -1.0, 0.0
        self.at = self.done_at = now
        self.known_at = 0.0

    def look(self, now: float, every_s: float) -> None:
        """Take what was answered, and ask again where the last look is `every_s` ago."""
        if self._asked is not None and self._asked.done():
            found, self._asked = self._asked.result(), None
            if found is not None:
                self._take(found)
        if self._asked is None and now - self._asked_at >= every_s:
            self._asked_at = now
            self._asked = self._probes.submit(read_metrics, self._socket, timeout_s=TIMEOUT_S)

    def _take(self, found: dict[str, float]) -> None:
        """As of the moment of asking: what came since is not known yet."""
        self.known_at = self._asked_at
        self.n_requests = found.get(RUNNING, 0.0) + found.get(WAITING, 0.0)
        done = found.get(DONE, 0.0)
        if self.n_requests or done != self._done:
            self.at = self.known_at
        if not self.n_requests or done != self._done:
            self.done_at = self.known_at
        self._done = done
