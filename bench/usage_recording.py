"""What recording costs a request: two products side by side, one of which keeps no books."""

import time
from dataclasses import dataclass
from typing import Any

from bench.pairs import Ratio, added, alternate, interval, median, ratio
from bench.processes import CHAT, LOAD, MEASURED, load, stub_engine
from bench.product import Product

CONNECTIONS = 32
DRAIN_S = 1.5  # the background process takes what a run left behind in that time
TO_REACH = 0.08


@dataclass(frozen=True)
class Way:
    """How two products are loaded: at a rate (requests/s, 0: as fast as they answer), and drained."""

    name: str
    rate: float
    drains_later: bool


WAYS = (
    Way("both at 5,000 requests/s, drained after the run", 5000, drains_later=True),
    Way("as fast as they answer, drained after the run", 0, drains_later=True),
    Way("as fast as they answer, drained during the run", 0, drains_later=False),
)
JUDGED = WAYS[:2]


class Side:
    """One product under load, by its processes' own CPU seconds."""

    def __init__(self, engine: str, seconds: float, **more: str) -> None:
        self._product = Product(f"m={engine}", core=MEASURED, **more)
        self._seconds = seconds
        self.way = WAYS[0]

    def run(self) -> dict[str, Any]:
        """`web_us` and `background_us` a request, `rps`."""
        product = self._product
        web, background = product.web.cpu_s(), product.background.cpu_s()
        if self.way.drains_later:
            product.background.pause()
        try:
            options = ("--key", product.key, "--rate", str(self.way.rate))
            found = load(product.url + CHAT, CONNECTIONS, self._seconds, *options)
        finally:
            product.background.go_on()
        web = product.web.cpu_s() - web
        time.sleep(DRAIN_S)
        background = product.background.cpu_s() - background
        n = found["requests"]
        return {"web_us": web / n * 1e6, "background_us": background / n * 1e6, "rps": found["rps"]}

    def stop(self) -> None:
        self._product.stop()


def measure(n_pairs: int, seconds: float) -> tuple[list[str], dict[str, Ratio]]:
    """The Markdown, and by way of loading the CPU of the web worker with books over without.

    At the same rate both are woken as often, so that the difference is what recording costs. Where each
    goes as fast as it can, the slower one has the load generator asleep more often and pays for waking it.
    The background process stands still during a run and drains after it, since what it does on the load's
    core slows the load; a last table has it drain at the same time.
    """
    stub, engine = stub_engine(LOAD)
    sides: list[Side] = []
    lines: list[str] = []
    shares = {}
    try:
        sides = [Side(engine, seconds), Side(engine, seconds, LOCALAI_DISABLE_STATS="true")]
        for way in WAYS:
            for side in sides:
                side.way = way
                side.run()
            kept, none = alternate(sides[0].run, sides[1].run, n_pairs)
            lines += ["", *_table(kept, none, n_pairs, seconds, way)]
            if way in JUDGED:
                shares[way.name] = ratio(kept, none, "web_us")
    finally:
        for side in sides:
            side.stop()
        stub.stop()
    return lines, shares


def _table(
    kept: list[dict[str, Any]],
    none: list[dict[str, Any]],
    n_pairs: int,
    seconds: float,
    way: Way,
) -> list[str]:
    lines = [
        f"{way.name[0].upper()}{way.name[1:]}:",
        "",
        "| | req/s | web worker, CPU µs a request | background process, CPU µs a request |",
        "|---|---|---|---|",
    ]
    for name, runs in (("recording", kept), ("LOCALAI_DISABLE_STATS=true", none)):
        cells = (f"{median(runs, 'web_us'):.1f}", f"{median(runs, 'background_us'):.1f}")
        lines.append(f"| {name} | {median(runs, 'rps'):,.0f} | {' | '.join(cells)} |")
    behind = interval(
        [a["background_us"] - b["background_us"] for a, b in zip(kept, none, strict=True)]
    )
    more = added(kept, none, "web_us")
    share = ratio(kept, none, "web_us")
    lines.append(
        f"\n{n_pairs} alternating pairs of {seconds:g} s, {CONNECTIONS} connections. Web worker: {more} µs more, "
        f"{share} times; background process: {behind} µs more."
    )
    return lines
