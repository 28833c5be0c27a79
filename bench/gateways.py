"""The product beside other gateways on one core, one worker, every check and record on: ratios and bars."""

import subprocess
from functools import partial
from typing import Any

from bench import peers, picture
from bench.bars import Bar, Table, exact
from bench.pairs import added, alternate, median, ratio
from bench.processes import CHAT, Process, load
from bench.product import Product
from bench.streams import STREAMS, run

Runs = list[dict[str, Any]]
REQUESTS = {"vllm-router": 1.0, "Portkey": 12.0, "LiteLLM": 60.0}  # times theirs, at 32 connections
P50_MS, P99_TIMES = 0.1, 1.5  # of vllm-router's, at 1 and at 32 connections
CHUNK = {"vllm-router": (STREAMS, 1.6), "LiteLLM": (16, 1 / 25)}  # their streams, times their CPU
WARM_S = 2.0
SHORTER = 3
MORE_PAIRS = {"Portkey": 2, "LiteLLM": 2}  # times as many: their own runs differ most
STREAM_S = 2.0  # answers of 100 chunks, as in the trials that the bars were set by
MORE_OF_STREAMS = 2  # times as many pairs


class Ours:
    """The product with a key of its own, and how many requests went through it: `sent`."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self._key = product.make_key("beside others")
        self.sent = 0

    def requests(self, connections: int, seconds: float) -> dict[str, Any]:
        url = self._product.url + CHAT
        return self._counted(load(url, connections, seconds, "--key", self._key["key"]))

    def chunks(self, streams: int, seconds: float) -> dict[str, Any]:
        product = self._product
        return self._counted(run(product.web, product.url, self._key["key"], seconds, streams))

    def _counted(self, found: dict[str, Any]) -> dict[str, Any]:
        self.sent += int(found["requests"])
        return found

    def unbooked(self) -> int:
        """How many of them the books have too few, or too many."""
        return abs(int(self._product.books(self._key, self.sent)["request_count"]) - self.sent)


class Beside:
    """One other gateway and the product, as pairs of runs in turn."""

    def __init__(self, ours: Ours, name: str, engine: str, n_pairs: int, seconds: float) -> None:
        self.ours, self.name, self._seconds = ours, name, seconds
        self._n = n_pairs * MORE_PAIRS.get(name, 1)
        self._told = peers.told(name, engine)

    def warm(self, url: str) -> None:
        load(url + CHAT, 32, WARM_S, *self._told)

    def requests(self, url: str, connections: int) -> tuple[Runs, Runs]:
        """Short runs and more of them: the machine's own speed changes from one second to the next."""
        seconds = self._seconds / SHORTER
        theirs = partial(load, url + CHAT, connections, seconds, *self._told)
        mine = partial(self.ours.requests, connections, seconds)
        return alternate(mine, theirs, self._n * SHORTER)

    def chunks(self, process: Process, url: str, streams: int) -> tuple[Runs, Runs]:
        """Theirs with so many `streams` as they stand (200 are too many for LiteLLM), ours with all."""
        theirs = partial(run, process, url, peers.KEY, STREAM_S, streams)
        mine = partial(self.ours.chunks, STREAMS, STREAM_S)
        return alternate(mine, theirs, self._n * MORE_OF_STREAMS)


def measure(product: Product, engine: str, n_pairs: int, seconds: float) -> Table:
    """In front of the same engine; afterwards the books hold all that went through the product."""
    table = Table("Other gateways, product/gateway")
    ours = Ours(product)
    print("\n| 32 connections | req/s | p50 ms | p99 ms | product: req/s | p50 ms | p99 ms |")
    print("|---|---|---|---|---|---|---|", flush=True)
    bars: list[Bar] = []
    rows: list[dict[str, Any]] = []
    for name in peers.STARTERS:
        beside = Beside(ours, name, engine, n_pairs, seconds)
        try:
            with peers.running(name, engine) as (process, url):
                beside.warm(url)
                mine, other = beside.requests(url, 32)
                rows.append({"name": name, **_shown(name, mine, other)})
                bars += [*_of_requests(beside, url, mine, other), *_of_chunks(beside, process, url)]
        except (OSError, subprocess.CalledProcessError, RuntimeError) as exc:
            table.could_not(name, exc, has_bar=name in REQUESTS)
    table.add(*bars, Bar(f"books - callers, of {ours.sent:,} requests", exact(ours.unbooked()), 0))
    picture.keep(rows, n_pairs * SHORTER)
    return table


def _shown(name: str, mine: Runs, other: Runs) -> dict[str, float]:
    cells = [
        f"{median(runs, what):,.{digits}f}"
        for runs in (other, mine)
        for what, digits in (("rps", 0), ("p50_ms", 2), ("p99_ms", 2))
    ]
    print("| " + " | ".join([name, *cells]) + " |", flush=True)
    return {"rps": median(other, "rps"), "ours_rps": median(mine, "rps")}


def _of_requests(beside: Beside, url: str, mine: Runs, other: Runs) -> list[Bar]:
    """Of plain requests: `mine` and `other` are pairs at 32 connections."""
    name, found = beside.name, []
    if name in REQUESTS:
        share = ratio(mine, other, "rps")
        found = [Bar(f"{name}: requests/s, 32 connections", share, REQUESTS[name], at_least=True)]
    if name == "vllm-router":
        late = ratio(mine, other, "p99_ms")
        more = added(*beside.requests(url, 1), "p50_ms")
        found += [
            Bar(f"{name}: p99, 32 connections", late, P99_TIMES),
            Bar(f"{name}: p50 added, 1 connection, ms", more, P50_MS),
        ]
    return found


def _of_chunks(beside: Beside, process: Process, url: str) -> list[Bar]:
    if beside.name not in CHUNK:
        return []
    streams, limit = CHUNK[beside.name]
    share = ratio(*beside.chunks(process, url, streams), "us")
    return [Bar(f"{beside.name}: CPU of a chunk, {STREAMS} streams/its {streams}", share, limit)]
