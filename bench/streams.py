"""What a streamed chunk costs: 200 streams of 50 chunks/s, CPU of the worker for each chunk that came through.

`python -m bench.streams [--seconds S] [--pairs N] [--router]` prints Markdown. The stub sends its running counts
with every chunk whoever asks, so that each side is sent the same bytes; the product cuts them out, as its
caller did not ask for them. CPU is user and system time of the measured process, with what starting and ending
the streams takes. `--router` adds vllm-router (bench.peers).
"""

import argparse
import datetime as dt
import json
from functools import partial
from typing import Any

from bench import peers
from bench.pairs import alternate, interval, median
from bench.processes import (
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

STREAMS, TICK_S, CHAT = 200, 0.02, "/v1/chat/completions"


def run(process: Process, url: str, key: str, seconds: float) -> dict[str, Any]:
    """One round of streams through `url`: `us`, the CPU of `process` for a chunk, and what the load says."""
    told = {"tokens": int(seconds / TICK_S), "tick": TICK_S, "counts": True}
    before = process.cpu_s()
    found = load(url + CHAT, STREAMS, 0.01, "--key", key, "--stream", "--stub", json.dumps(told))
    spent = process.cpu_s() - before
    return {**found, "us": spent / (told["tokens"] * STREAMS) * 1e6}


def measure(n_pairs: int, seconds: float, *, router: bool) -> list[str]:
    """The Markdown of the product against each other side, in turn on the same core."""
    stub, engine = stub_engine(LOAD)
    product = Product(f"m={engine}", core=MEASURED)
    others: dict[str, tuple[Process, str]] = {}
    lines = [
        "| | CPU a chunk, µs | product in the same minutes, µs | product/it |",
        "|---|---|---|---|",
    ]
    try:
        port = free_port()
        bare = gunicorn("bench.bare:application", MEASURED, port, GATEHOUSE_BENCH_ENGINE=engine)
        others["bare forwarder"] = (bare, f"http://127.0.0.1:{port}")
        if router:
            port = free_port()
            others["vllm-router"] = (peers.vllm_router(engine, port), f"http://127.0.0.1:{port}")
        ours = partial(run, product.web, product.url, product.key, seconds)
        ours()
        for name, (process, url) in others.items():
            wait_for(url + "/", 90)
            mine, other = alternate(ours, partial(run, process, url, "", seconds), n_pairs)
            share = interval([a["us"] / b["us"] for a, b in zip(mine, other, strict=True)])
            lines.append(
                f"| {name} | {median(other, 'us'):.1f} | {median(mine, 'us'):.1f} | {share} |"
            )
    finally:
        product.stop()
        for process, _ in others.values():
            process.stop()
        stub.stop()
    return lines


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--router", action="store_true")
    arguments = parser.parse_args()
    print(f"## bench.streams, {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC\n", flush=True)
    print("\n".join(measure(arguments.pairs, arguments.seconds, router=arguments.router)))


if __name__ == "__main__":
    main()
