"""2,000 streams of 10 chunks/s at once on one worker, and 100 that read slowly among them.

The gap is the time between two chunks of one stream, as its caller sees it. Memory is what the worker holds
at its most, above what it held before; that of a slow reader, above what it held without them.
"""

import json
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

from bench.bars import Bar, Table, exact
from bench.pairs import Ratio, interval
from bench.processes import CHAT, LOAD, MEASURED, ROOT, load, stub_engine
from bench.product import Product

STREAMS, SLOW, TICK_S = 2_000, 100, 0.1
GAP_MS, STREAM_KB, SLOW_KB = 150.0, 40.0, 1_024.0
WARM = 50_000  # requests of a server that has been in use
SLOW_READ_S, SLOW_WORDS = 5.0, "word" * 4_000
LOOK_S = 0.25


def measure(rounds: int, seconds: float) -> Table:
    table = Table(f"{STREAMS:,} streams of {1 / TICK_S:g} chunks/s")
    stub, engine = stub_engine(LOAD)
    room = str(STREAMS + SLOW)
    with stub, Product(f"m={engine}", core=MEASURED, LOCALAI_ENGINE_CONCURRENCY=room) as product:
        load(product.url + CHAT, 32, 600, "--key", product.key, "--count", str(WARM))
        before = _held_kb(product)
        alone = [_round(product, seconds, slow=0) for _ in range(rounds)]
        among = [_round(product, seconds, slow=SLOW) for _ in range(rounds)]
    table.add(
        Bar("p99 of the gap, ms", _of(alone, "gap_p99_ms"), GAP_MS),
        Bar("memory for a stream, KB", exact((_most(alone) - before) / STREAMS), STREAM_KB),
        Bar(f"p99 of the gap, {SLOW} slow readers, ms", _of(among, "gap_p99_ms"), GAP_MS),
        Bar("memory for a slow reader, KB", exact((_most(among) - _most(alone)) / SLOW), SLOW_KB),
    )
    return table


def _of(rounds: list[dict[str, Any]], what: str) -> Ratio:
    return interval([each[what] for each in rounds])


def _most(rounds: list[dict[str, Any]]) -> float:
    """What the worker held at its most, in KB; what it kept of an earlier round counts."""
    return max(float(each["held_kb"]) for each in rounds)


def _held_kb(product: Product) -> float:
    return product.web.largest_mb() * 1e6 / 1024


def _round(product: Product, seconds: float, *, slow: int) -> dict[str, Any]:
    told = {"tokens": int(seconds / TICK_S), "tick": TICK_S}
    most = Most(product)
    readers = _slow_readers(product, slow, told) if slow else None
    with most:
        stub = ("--stub", json.dumps(told))
        found = load(
            product.url + CHAT,
            STREAMS - slow,
            0.01,
            "--key",
            product.key,
            "--stream",
            "--gaps",
            *stub,
        )
    if readers is not None:
        readers.terminate()
        readers.wait()
    return {**found, "held_kb": most.kb}


def _slow_readers(product: Product, n: int, told: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Callers who read once in a while what comes to more than the kernel keeps for them."""
    body = json.dumps({**told, "words": SLOW_WORDS})
    command = [sys.executable, "-m", "bench.load", product.url + CHAT, str(n), "0.01"]
    command += ["--key", product.key, "--stream", "--slow", str(SLOW_READ_S), "--stub", body]
    return subprocess.Popen(
        ["taskset", "-c", str(LOAD), *command], cwd=ROOT, stdout=subprocess.DEVNULL
    )


class Most:
    """The worker's resident memory at its most while this is entered: `kb`."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._look)
        self.kb = 0.0

    def _look(self) -> None:
        while not self._ended.wait(LOOK_S):
            with suppress(OSError):
                self.kb = max(self.kb, _held_kb(self._product))

    def __enter__(self) -> None:
        self._watch.start()

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._watch.join()
