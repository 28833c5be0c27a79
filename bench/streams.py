"""What a streamed chunk costs: 200 streams of 50 chunks/s, CPU of the worker for each chunk that came through.

`python -m bench.streams [--seconds S] [--pairs N] [--router] [--requests]` prints Markdown. The stub sends its running counts
with every chunk whoever asks, so that each side is sent the same bytes; the product cuts them out, as its
caller did not ask for them. CPU is user and system time of the measured process, with what starting and ending
the streams takes. `--router` adds vllm-router (bench.peers); `--requests` takes plain requests at 32 connections
instead, and CPU for each of them.
"""

import argparse
import datetime as dt
import json
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from bench import peers
from bench.pairs import alternate, median, ratio
from bench.processes import (
    CHAT,
    LOAD,
    MEASURED,
    Process,
    free_port,
    gunicorn,
    load,
    stub_engine,
    wait_for,
)
from bench.product import Product

STREAMS, TICK_S, CONNECTIONS = 200, 0.02, 32

Run = Callable[[Process, str, str, float], dict[str, Any]]


def run(
    process: Process, url: str, key: str, seconds: float, streams: int = STREAMS
) -> dict[str, Any]:
    """One round of streams through `url`: `us`, the CPU of `process` for a chunk, and what the load says."""
    told = {"tokens": int(seconds / TICK_S), "tick": TICK_S, "counts": True}
    before = process.cpu_s()
    found = load(url + CHAT, streams, 0.01, "--key", key, "--stream", "--stub", json.dumps(told))
    spent = process.cpu_s() - before
    return {**found, "us": spent / (told["tokens"] * streams) * 1e6}


def run_requests(process: Process, url: str, key: str, seconds: float) -> dict[str, Any]:
    """The same of plain requests: `us` is the CPU for one."""
    before = process.cpu_s()
    found = load(url + CHAT, CONNECTIONS, seconds, "--key", key)
    return {**found, "us": (process.cpu_s() - before) / found["requests"] * 1e6}


def measure(n_pairs: int, seconds: float, run: Run, *, router: bool) -> list[str]:
    """The Markdown of the product against each other side, in turn on the same core."""
    lines = [
        "| | CPU of one, µs | product in the same minutes, µs | product/it | requests/s: product/it |",
        "|---|---|---|---|---|",
    ]
    with ExitStack() as stack:
        stub, engine = stub_engine(LOAD)
        stack.enter_context(stub)
        product = stack.enter_context(Product(f"m={engine}", core=MEASURED))
        port = free_port()
        bare = gunicorn("bench.bare:application", MEASURED, port, GATEHOUSE_BENCH_ENGINE=engine)
        stack.enter_context(bare)
        others = {"bare forwarder": (bare, f"http://127.0.0.1:{port}")}
        if router:
            others["vllm-router"] = stack.enter_context(peers.running("vllm-router", engine))
        ours = partial(run, product.web, product.url, product.key, seconds)
        ours()
        for name, (process, url) in others.items():
            wait_for(url + "/", 90)
            mine, other = alternate(ours, partial(run, process, url, "", seconds), n_pairs)
            share = ratio(mine, other, "us")
            lines.append(
                f"| {name} | {median(other, 'us'):.1f} | {median(mine, 'us'):.1f} | {share} | {ratio(mine, other, 'rps')} |"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--router", action="store_true")
    parser.add_argument("--requests", action="store_true")
    arguments = parser.parse_args()
    way = run_requests if arguments.requests else run
    print(f"## bench.streams, {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC\n", flush=True)
    print("\n".join(measure(arguments.pairs, arguments.seconds, way, router=arguments.router)))


if __name__ == "__main__":
    main()
