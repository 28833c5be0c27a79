"""When an engine was last used, as its own counters tell, and what it takes: no request pays for that."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from inference.engine_facts import Memory, memory_of
from inference.machine import gpu_memory_by_pid
from inference.sockets import At, read_metrics

FIRST_S, MEASURE_S = 10.0, 30.0
RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
DONE = "vllm:request_success_total"
BEGUN = "vllm:time_to_first_token_seconds_count"
TIMEOUT_S = 2.0


class Use:
    """What one engine's counters said at the last look. Times are `time.monotonic`.

    `began_at` is when it became ready, `at` when it was last known to be used, `done_at` when it last
    ended a request or had none, `known_at` when it last told anything. One thread owns it; the asking
    is done by `probes`.
    """

    def __init__(self, where: Callable[[], At], probes: ThreadPoolExecutor) -> None:
        self._where = where
        self._probes = probes
        self._asked: Future[dict[str, float] | None] | None = None
        self._asked_at = 0.0
        self._done, self._left = -1.0, float("-inf")
        self.began_at = self.at = self.done_at = self.known_at = 0.0
        self.n_requests = 0.0

    def begin(self, now: float) -> None:
        """The engine has just become ready: that counts as its first use."""
        self._asked, self._done, self.n_requests = None, -1.0, 0.0
        self._left = float("-inf")
        self.began_at = self.at = self.done_at = now
        self.known_at = 0.0

    def look(self, now: float, every_s: float) -> None:
        """Take what was answered, and ask again where the last look is `every_s` ago."""
        if self._asked is not None and self._asked.done():
            found, self._asked = self._asked.result(), None
            if found is not None and RUNNING in found:  # one that does not count may be in use
                self._take(found)
        if self._asked is None and now - self._asked_at >= every_s:
            self._asked_at = now
            self._asked = self._probes.submit(read_metrics, self._where(), timeout_s=TIMEOUT_S)

    def _take(self, found: dict[str, float]) -> None:
        """As of the moment of asking: what came since is not known yet.

        vLLM does not count a request that was aborted as done, but then fewer run than have begun.
        """
        self.known_at = self._asked_at
        self.n_requests = found.get(RUNNING, 0.0) + found.get(WAITING, 0.0)
        done = found.get(DONE, 0.0)
        if self.n_requests or done != self._done:
            self.at = self.known_at
        left = found.get(BEGUN, 0.0) - found.get(RUNNING, 0.0)
        if not self.n_requests or done != self._done or left > self._left:
            self.done_at = self.known_at
        self._done, self._left = done, max(left, self._left)


class Footprint:
    """What one engine's processes take, the most that was measured since it started; 0 until then.

    Looked at rarely: adding up the pages of a large process is not free for it.
    """

    def __init__(self, probes: ThreadPoolExecutor, *, on_card: bool) -> None:
        self._probes = probes
        self._on_card = on_card
        self._asked: Future[Memory] | None = None
        self._next = 0.0
        self.bytes = 0

    def begin(self, now: float) -> None:
        """The engine has just become ready; at once there is little to see."""
        self._asked, self.bytes, self._next = None, 0, now + FIRST_S

    def look(self, now: float, pid: int | None) -> None:
        """Take what was measured, and measure again where it is time."""
        if self._asked is not None and self._asked.done():
            found, self._asked = self._asked.result(), None
            self.bytes = max(self.bytes, found.gpu if self._on_card else found.total)
        if self._asked is None and now >= self._next:
            self._next = now + MEASURE_S
            self._asked = self._probes.submit(_memory_now, pid)


def _memory_now(pid: int | None) -> Memory:
    return memory_of(pid, gpu_memory_by_pid())
