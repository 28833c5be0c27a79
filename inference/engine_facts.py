"""What each engine is doing at this moment, measured when somebody asks (R-14, R-29).

Nothing is measured while nobody looks: an engine's own counters come from its `/metrics`, its memory
from the processes below its guardian.
"""

import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import psutil

from inference.guarded import GUARDIAN
from inference.machine import gpu_memory_by_pid
from inference.models import Engine, EngineState
from inference.sockets import place_of, read_metrics

N = TypeVar("N", int, float)
METRICS_TIMEOUT_S = 1.0
TOKENS = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total")
RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
KV_USE = "vllm:kv_cache_usage_perc"
SERVING = {EngineState.READY, EngineState.DRAINING}
SOONEST_S, OLDEST_S, FIRST_LOOK_S = 0.2, 60.0, 0.25


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of an engine's processes, by what each is called; `gpu` on the accelerators."""

    breakdown: dict[str, int] = field(default_factory=dict)
    gpu: int = 0

    @property
    def total(self) -> int:
        return sum(self.breakdown.values())


@dataclass(frozen=True, slots=True)
class Facts:
    """One engine's numbers; None for what it does not tell."""

    memory: Memory
    running: int | None = None
    waiting: int | None = None
    kv_use: float | None = None
    tokens_per_s: float | None = None


class Speed:
    """Tokens a second between two looks of this process at the same engine."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, int | None], tuple[float, float]] = {}

    def since_last(self, engine: tuple[str, int | None], tokens: float) -> float | None:
        """None at the first look, and where the last one is too long ago or just now."""
        now = time.monotonic()
        with self._lock:
            at, before = self._seen.get(engine, (0.0, 0.0))
            if at and now - at < SOONEST_S:
                return None
            self._seen = {k: v for k, v in self._seen.items() if now - v[0] < OLDEST_S}
            self._seen[engine] = (now, tokens)
        if not at or now - at > OLDEST_S or tokens < before:
            return None
        return round((tokens - before) / (now - at), 1)


_speed = Speed()


def facts_of(engines: Iterable[Engine]) -> dict[int, Facts]:
    """Every engine's numbers by its key; engines are asked at the same time."""
    rows = list(engines)
    if not rows:
        return {}
    on_gpus = gpu_memory_by_pid()
    with ThreadPoolExecutor(min(8, len(rows))) as pool:
        found = list(pool.map(lambda row: _facts(row, on_gpus), rows))
    return {row.pk: facts for row, facts in zip(rows, found, strict=True)}


def together(several: Iterable[Facts]) -> Facts | None:
    """The engines of one model as one: sums, of the KV cache the mean; None where there is none."""
    found = list(several)
    if len(found) <= 1:
        return found[0] if found else None
    breakdown: dict[str, int] = {}
    for facts in found:
        for name, size in facts.memory.breakdown.items():
            breakdown[name] = breakdown.get(name, 0) + size
    kv = [facts.kv_use for facts in found if facts.kv_use is not None]
    return Facts(
        Memory(breakdown, sum(facts.memory.gpu for facts in found)),
        running=_sum(facts.running for facts in found),
        waiting=_sum(facts.waiting for facts in found),
        kv_use=sum(kv) / len(kv) if kv else None,
        tokens_per_s=_sum(facts.tokens_per_s for facts in found),
    )


def _sum(values: Iterable[N | None]) -> N | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _facts(row: Engine, on_gpus: dict[int, int]) -> Facts:
    memory = memory_of(row.pid, on_gpus)
    if row.state not in SERVING or not row.address:
        return Facts(memory)
    socket, engine = place_of(row.address), (row.model_id, row.pid)
    now = read_metrics(socket, timeout_s=METRICS_TIMEOUT_S)
    if now is None:
        return Facts(memory)
    speed = _speed.since_last(engine, sum(now.get(name, 0) for name in TOKENS))
    if speed is None and now.get(RUNNING):
        time.sleep(FIRST_LOOK_S)
        now = read_metrics(socket, timeout_s=METRICS_TIMEOUT_S) or now
        speed = _speed.since_last(engine, sum(now.get(name, 0) for name in TOKENS))
    elif speed is None and RUNNING in now:
        speed = 0.0
    return Facts(
        memory,
        running=_whole(now.get(RUNNING)),
        waiting=_whole(now.get(WAITING)),
        kv_use=now.get(KV_USE),
        tokens_per_s=speed,
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def memory_of(guardian: int | None, on_gpus: dict[int, int]) -> Memory:
    """Memory of the processes below a guardian; pages that they share count once (PSS).

    Nothing where the number is no guardian's of this machine (any more).
    """
    if guardian is None:
        return Memory()
    breakdown: dict[str, int] = {}
    gpu = 0
    try:
        root = psutil.Process(guardian)
        if str(GUARDIAN) not in root.cmdline():
            return Memory()
        below = root.children(recursive=True)
    except psutil.Error:
        return Memory()
    for process in below:
        try:
            name, size = process.name(), _resident(process)
        except psutil.Error:  # it has ended
            continue
        breakdown[name] = breakdown.get(name, 0) + size
        gpu += on_gpus.get(process.pid, 0)
    return Memory(breakdown, gpu)


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.AccessDenied:
        return int(process.memory_info().rss)
