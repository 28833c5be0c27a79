"""What tracing costs a request: one product whose setting is switched between paired runs.

`python -m bench.usage_tracing [--pairs 25] [--seconds 1.5] [--rate 2000]`. The same process serves both
sides of a pair, so that nothing but the setting differs. Before it the meter alone in a hot loop, and the inference path
without a server around it, which other work on the machine disturbs least (`--pairs 0`: these alone).
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import uvloop

from bench.pairs import added, alternate, interval, median, ratio
from bench.processes import CHAT, LOAD, MEASURED, load, stub_engine
from bench.product import Product
from core.call import Call
from core.principal import Principal
from inference.tests.rig import Rig
from usage.journal.writer import Journal
from usage.metering import Meter
from usage.traces.terms import TraceTerms

CONNECTIONS, DRAIN_S, IN_FORCE_S = 32, 1.5, 0.3
TO_REACH = 1.03
LOOPS, REQUESTS = 60, 2000
WARM, BLOCKS, BLOCK = 10, 300, 100
CHAT_BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
BOB = Principal("u1", "Bob", "bob@x.org", "user", "apikey", frozenset({"chat"}), "k1", "key")
HEADERS = {
    b"user-agent": b"python-httpx/0.28",
    b"authorization": b"Bearer lai-0",
    b"accept": b"*/*",
}


async def _nothing() -> dict[str, Any]:
    return {}


def _loop(meter: Meter, folder: Path) -> float:
    """CPU microseconds a request: admitted, sent, answered, settled."""
    calls = []
    for _ in range(REQUESTS):
        call = Call(
            method="POST", path=CHAT, query=b"", headers=HEADERS, receive=_nothing, client="::1"
        )
        call.principal = BOB
        calls.append(call)
    answer = b"x" * 300
    began = time.thread_time()
    for call in calls:
        event = meter.admit(call, endpoint=CHAT, model="m", served_model="m", backend="vllm")
        event.sent_at = event.head_at = time.perf_counter()
        event.engine_status = 200
        event.tokens(10, 5)
        event.settle(200, answer=answer)
    spent = time.thread_time() - began
    for path in sorted(folder.glob("*.journal"))[:-1]:
        path.unlink()
    return spent / REQUESTS * 1e6


def hot_loop() -> str:
    """The meter alone: on and off in turn, the median of each."""
    found: dict[str, list[float]] = {"off": [], "on": []}
    with tempfile.TemporaryDirectory() as folder:
        meter = Meter(Journal(Path(folder)))
        for _ in range(LOOPS):
            for name, terms in (("off", None), ("on", TraceTerms())):
                meter.traces = terms
                found[name].append(_loop(meter, Path(folder)))
        meter.journal.close()
    off, on = (statistics.median(found[name]) for name in ("off", "on"))
    low, high = (min(found[name]) for name in ("off", "on"))
    return (
        f"Meter in a hot loop, {LOOPS} pairs: {off:.2f} µs a request without traces, {on:.2f} with "
        f"(least {low:.2f} and {high:.2f})"
    )


async def _inference(engine: str, folder: Path) -> tuple[list[float], list[float]]:
    """CPU microseconds a request of the whole inference path, blocks with and without in turn."""
    rig = Rig(folder, engine)
    found: tuple[list[float], list[float]] = ([], [])
    headers = {"user_agent": "python-httpx/0.28", "authorization": "Bearer lai-0"}
    for index in range(WARM + BLOCKS):
        sides = ((found[0], TraceTerms()), (found[1], None))
        for into, terms in sides if index % 2 else sides[::-1]:
            rig.runtime.meter.traces = terms
            began = time.thread_time()
            for _ in range(BLOCK):
                await rig.ask("chat-completions", CHAT_BODY, **headers)
            into.append((time.thread_time() - began) / BLOCK * 1e6)
    await rig.runtime.finish()
    return found[0][WARM:], found[1][WARM:]


def inference_path(engine: str) -> str:
    """From the body's reading to the answer, by way of an engine, in this process; no server around it."""
    with tempfile.TemporaryDirectory() as folder:
        on, off = uvloop.run(_inference(engine, Path(folder)))
    shares = [a / b for a, b in zip(on, off, strict=True)]
    more = [a - b for a, b in zip(on, off, strict=True)]
    return (
        f"Inference path in one process, {BLOCKS} pairs of {BLOCK} requests: {statistics.median(off):.1f} µs without, "
        f"{statistics.median(on):.1f} with; {statistics.median(more):.2f} µs more, {interval(shares)} times, "
        f"median {statistics.median(shares):.3f}"
    )


class Sides:
    """One product, loaded with tracing on or off."""

    def __init__(self, engine: str, seconds: float, rate: float) -> None:
        self.product = Product(f"m={engine}", core=MEASURED)
        self._seconds, self._rate = seconds, rate

    def on(self) -> dict[str, Any]:
        return self._run(enable_tracing=True)

    def off(self) -> dict[str, Any]:
        return self._run(enable_tracing=False)

    def _run(self, **settings: bool) -> dict[str, Any]:
        product = self.product
        headers = {"Authorization": f"Bearer {product.key}"}
        httpx.post(f"{product.url}/api/settings", json=settings, headers=headers).raise_for_status()
        time.sleep(IN_FORCE_S)
        background = product.background.cpu_s()
        product.background.pause()
        web = product.web.cpu_s()
        try:
            options = ("--key", product.key, "--rate", str(self._rate))
            found = load(product.url + CHAT, CONNECTIONS, self._seconds, *options)
            web = product.web.cpu_s() - web
        finally:
            product.background.go_on()
        time.sleep(DRAIN_S)
        background = product.background.cpu_s() - background
        n = found["requests"]
        return {"web_us": web / n * 1e6, "background_us": background / n * 1e6, "rps": found["rps"]}


def measure(n_pairs: int, seconds: float, rate: float) -> list[str]:
    stub, engine = stub_engine(LOAD)
    sides = None
    lines = []
    try:
        os.sched_setaffinity(0, {MEASURED})
        lines += [inference_path(engine), ""]
        os.sched_setaffinity(0, {LOAD})
        if not n_pairs:
            return lines
        sides = Sides(engine, seconds, rate)
        sides.on()
        on, off = alternate(sides.on, sides.off, n_pairs)
    finally:
        if sides is not None:
            sides.product.stop()
        stub.stop()
    lines += ["| | req/s | web worker, CPU µs a request | background process, CPU µs a request |"]
    lines.append("|---|---|---|---|")
    for name, runs in (("traces on", on), ("traces off", off)):
        cells = (f"{median(runs, 'web_us'):.1f}", f"{median(runs, 'background_us'):.1f}")
        lines.append(f"| {name} | {median(runs, 'rps'):,.0f} | {' | '.join(cells)} |")
    shares = sorted(a["web_us"] / b["web_us"] for a, b in zip(on, off, strict=True))
    more = added(on, off, "web_us")
    middle = statistics.median(shares)
    lines.append(
        f"\n{n_pairs} pairs of {seconds:g} s, {CONNECTIONS} connections: {ratio(on, off, 'web_us')} times, median "
        f"{middle:.3f}, {more} µs more. To reach: {TO_REACH}, {'met' if middle <= TO_REACH else 'NOT met'}."
    )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--rate", type=float, default=2000)
    given = parser.parse_args()
    os.sched_setaffinity(0, {LOAD})
    print(hot_loop(), flush=True)
    print("\n".join(measure(given.pairs, given.seconds, given.rate)))


if __name__ == "__main__":
    main()
