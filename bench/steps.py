"""Where the CPU of a request goes, step by step: py-spy's samples of the web worker under load.

`python -m bench.steps [--seconds S] [--streams]` starts the product, loads it with 32 connections (or 200
streams of 50 chunks/s), and prints Markdown: microseconds a request (or a chunk) by step. A sample counts for the
innermost of its functions that stands in STEPS; the sum is the CPU seconds of the process, so that what sampling
itself costs is shared out, too. `--lines N` lists the N places with most samples as well.
"""

import argparse
import datetime as dt
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from bench.processes import CHAT, LOAD, MEASURED, load, stub_engine
from bench.product import Product
from bench.streams import STREAMS, TICK_S

CONNECTIONS, RATE = 32, 400
IDLE = "_worker (concurrent/futures/thread.py"  # a thread of the pool that has nothing to do
# (a part of the path, functions or none for all) -> step; the first that fits counts.
STEPS: tuple[tuple[str, frozenset[str], str], ...] = tuple(
    (path, frozenset(functions.split()), step)
    for path, functions, step in (
        ("usage/journal/", "", "journal"),
        ("usage/metering.py", "", "meter"),
        ("usage/quotas/", "", "quota"),
        ("core/call_times.py", "", "metrics"),
        ("accounts/credentials.py", "", "who is calling"),
        ("core/generations.py", "", "who is calling"),
        ("core/keyring.py", "", "who is calling"),
        ("accounts/gate.py", "", "gate"),
        ("inference/request_rules.py", "", "rules"),
        ("inference/families/", "", "rules, usage and chunks of the family"),
        ("inference/handlers.py", "parse", "JSON of the body"),
        ("inference/web_worker.py", "reply push", "answer: written"),
        ("inference/upstream", "data_received", "engine: read"),
        ("inference/upstream", "begin send_rest", "engine: written"),
        ("inference/upstream", "", "engine: its client"),
        ("core/deadline.py", "", "time-outs"),
        ("inference/forwarding.py", "", "forwarding"),
        ("inference/fair_queue.py", "", "forwarding"),
        ("inference/engine_table.py", "", "forwarding"),
        ("core/call.py", "write end start json", "answer: its value"),
        ("core/call.py", "", "the call's value, its id"),
        ("inference/handlers.py", "", "handler"),
        ("inference/lane.py", "", "lane"),
        ("core/response_headers.py", "", "lane"),
        ("asyncio/runners.py", "", "loop: selector, reading sockets"),
        ("localai_project/asgi.py", "", "lane"),
        ("httptools_impl.py", "send", "answer: written"),
        ("httptools_impl.py", "", "accept: parser, cycle, task"),
        ("uvicorn/", "", "accept: parser, cycle, task"),
        ("inference/web_worker.py", "", "accept: parser, cycle, task"),
    )
)


def stacks(raw: str) -> Iterator[tuple[list[str], int]]:
    """Each stack of py-spy's `raw` format, the innermost function first, and how often it was seen."""
    for line in raw.splitlines():
        frames, _, count = line.rpartition(" ")
        if IDLE not in frames:
            yield frames.split(";")[::-1], int(count)


def step_of(frames: list[str]) -> str:
    for frame in frames:  # `function (path:line)`
        named, _, where = frame.partition(" (")
        function = named.rpartition(".")[2]
        for path, functions, step in STEPS:
            if path in where and (not functions or function in functions):
                return step
    return "the rest"


def sampled(product: Product, seconds: float, *, streams: bool) -> tuple[str, float, int]:
    """(py-spy's samples, CPU seconds of the worker, requests or chunks) of one load."""
    worker = max(product.web.memory_mb().items(), key=lambda item: item[1])[0]
    pid = worker.rpartition("[")[2].rstrip("]")
    options = ["--key", product.key]
    if streams:
        told = {"tokens": int(seconds / TICK_S), "tick": TICK_S, "counts": True}
        options += ["--stream", "--stub", json.dumps(told)]
    with tempfile.NamedTemporaryFile(suffix=".raw") as out:
        spy_program = str(Path(sys.executable).with_name("py-spy"))
        command = ["taskset", "-c", str(LOAD), spy_program, "record", "--pid", pid]
        command += ["--format", "raw", "--rate", str(RATE), "--output", out.name]
        command += ["--duration", str(int(seconds))]
        spy = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = product.web.cpu_s()
        url, n = product.url + CHAT, STREAMS if streams else CONNECTIONS
        found = load(url, n, 0.01 if streams else seconds, *options)
        spent = product.web.cpu_s() - before
        spy.wait(60)
        raw = Path(out.name).read_text()
    return raw, spent, found["chunks" if streams else "requests"]


def table(raw: str, spent_s: float, n: int, lines: int) -> list[str]:
    steps: Counter[str] = Counter()
    places: Counter[str] = Counter()
    for frames, count in stacks(raw):
        steps[step_of(frames)] += count
        places[frames[0]] += count
    each = spent_s / n * 1e6 / max(1, steps.total())
    shown = ["| step | µs |", "|---|---|"]
    shown += [f"| {step} | {count * each:.1f} |" for step, count in steps.most_common()]
    shown.append(
        f"| all, from {steps.total():,} samples and {n:,} of them | {spent_s / n * 1e6:.1f} |"
    )
    return [*shown, *(f"{count * each:6.2f} {place}" for place, count in places.most_common(lines))]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--streams", action="store_true")
    parser.add_argument("--lines", type=int, default=0)
    arguments = parser.parse_args()
    stub, engine = stub_engine(LOAD)
    with stub, Product(f"m={engine}", core=MEASURED) as product:
        load(product.url + CHAT, CONNECTIONS, 1, "--key", product.key)
        raw, spent, n = sampled(product, arguments.seconds, streams=arguments.streams)
    print(f"## bench.steps, {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC\n")
    print("\n".join(table(raw, spent, n, arguments.lines)))


if __name__ == "__main__":
    main()
