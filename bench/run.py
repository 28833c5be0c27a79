"""`make bench`: the product, a bare forwarder and the engine, in one run on one machine.

`--no-engine` leaves the real engine out, `--quick` takes short runs to see that everything works. Prints
Markdown for docs/performance.md. Other gateways: bench.lane.
"""

import argparse
import datetime as dt
from functools import partial
from typing import Any

from bench import real_engine
from bench.pairs import PAIRS, added, alternate, median, ratio
from bench.processes import (
    CHAT,
    LOAD,
    MEASURED,
    free_port,
    gunicorn,
    load,
    machine,
    stub_engine,
    wait_for,
)
from bench.product import Product

STREAM = ("--stream", "--stub", '{"tokens":200}')
SOAK_REQUESTS = 20_000


def title(command: str) -> str:
    return f"## {command}, {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC\n\n{machine()}\n"


def row(name: str, one: list[dict[str, Any]], many: list[dict[str, Any]]) -> str:
    cells = [
        f"{median(one, 'rps'):,.0f}",
        f"{median(one, 'p50_ms'):.3f}",
        f"{median(one, 'p99_ms'):.2f}",
    ]
    cells += [
        f"{median(many, 'rps'):,.0f}",
        f"{median(many, 'p50_ms'):.2f}",
        f"{median(many, 'p99_ms'):.2f}",
    ]
    return f"| {name} | " + " | ".join(cells) + " |"


def verdict(name: str, found: float, wanted: str, *, met: bool) -> str:
    return f"| {name} | {found:.3g} | {wanted} | {'met' if met else '**not met**'} |"


class Bench:
    """Holds what runs: the stub on the load's core, bare and product on the measured one."""

    def __init__(self, *, seconds: float, n_pairs: int) -> None:
        self.seconds, self.n_pairs = seconds, n_pairs
        self.stub, self.engine = stub_engine(LOAD)
        port, other = free_port(), free_port()
        engine = {"GATEHOUSE_BENCH_ENGINE": self.engine}
        self.bare_process = gunicorn("bench.bare:application", MEASURED, port, **engine)
        self.aiohttp_process = gunicorn("bench.bare_aiohttp:application", MEASURED, other, **engine)
        self.product = Product(f"m={self.engine}", core=MEASURED)
        self.bare, self.aiohttp = (
            f"http://127.0.0.1:{port}{CHAT}",
            f"http://127.0.0.1:{other}{CHAT}",
        )
        for url in (self.bare, self.aiohttp):
            wait_for(url)

    def runs(self, connections: int, *more: str) -> tuple[Any, Any]:
        """(product, bare) as calls that run one load each."""
        product = partial(
            load,
            self.product.url + CHAT,
            connections,
            self.seconds,
            "--key",
            self.product.key,
            *more,
        )
        return product, partial(load, self.bare, connections, self.seconds, *more)

    def short_answers(self) -> list[str]:
        lines = [
            "| | 1 conn: req/s | p50 ms | p99 ms | 32 conns: req/s | p50 ms | p99 ms |",
            "|---|---|---|---|---|---|---|",
        ]
        direct = [[load(self.engine + CHAT, n, self.seconds)] for n in (1, 32)]
        plain = [[load(self.aiohttp, n, self.seconds)] for n in (1, 32)]
        load(self.product.url + CHAT, 32, 2, "--key", self.product.key)
        one = alternate(*self.runs(1), self.n_pairs)
        many = alternate(*self.runs(32), self.n_pairs)
        lines.append(row("(a) stub engine directly", *direct))
        lines.append(row("(b) bare forwarder, same server and client", one[1], many[1]))
        lines.append(row("(b') bare forwarder on aiohttp", *plain))
        lines.append(row("(c) product, a key, everything on", one[0], many[0]))
        share = ratio(*many, "rps")
        more = added(*one, "p50_ms")
        streams = alternate(*self.runs(32, *STREAM), self.n_pairs)
        chunks = ratio(*streams, "chunks_per_s")
        lines += [
            "",
            f"Streams, 32 at once: product {median(streams[0], 'chunks_per_s'):,.0f} chunks/s, bare {median(streams[1], 'chunks_per_s'):,.0f}.",
            "",
            "| ratio | found | to reach | |",
            "|---|---|---|---|",
            verdict(
                f"(c)/(b) at 32 connections, {share}", share.mean, "0.55", met=share.low >= 0.55
            ),
            verdict(
                f"p50 (c) - (b) at 1 connection, ms, {more}",
                more.mean,
                "at most 0.3",
                met=more.high <= 0.3,
            ),
            verdict(
                f"streamed chunks/s (c)/(b), {chunks}", chunks.mean, "0.6", met=chunks.low >= 0.6
            ),
        ]
        return lines

    def soak(self) -> list[str]:
        """Resident memory of the web worker before and after many requests."""
        before = self.web_memory()
        load(
            self.product.url + CHAT,
            32,
            600,
            "--key",
            self.product.key,
            "--count",
            str(SOAK_REQUESTS),
        )
        after = self.web_memory()
        return [
            f"Memory over {SOAK_REQUESTS:,} requests: {before:.1f} MB before, {after:.1f} MB after ({after - before:+.1f} MB)."
        ]

    def web_memory(self) -> float:
        return self.product.web.largest_mb()

    def memory(self) -> list[str]:
        found = {**self.product.web.memory_mb(), **self.product.background.memory_mb()}
        return [
            "",
            "Resident memory: "
            + ", ".join(f"{name} {mb:.0f} MB" for name, mb in found.items())
            + ".",
        ]

    def stop(self) -> None:
        self.product.stop()
        for process in (self.bare_process, self.aiohttp_process, self.stub):
            process.stop()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--no-engine", action="store_true")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    print(title("make bench"), flush=True)
    bench = Bench(seconds=1 if arguments.quick else 2, n_pairs=3 if arguments.quick else PAIRS)
    try:
        for part in (bench.short_answers, bench.soak, bench.memory):
            print("\n".join(part()), flush=True)
    finally:
        bench.stop()
    if not arguments.no_engine:
        real_engine.measure()


if __name__ == "__main__":
    main()
