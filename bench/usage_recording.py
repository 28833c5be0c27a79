"""What recording costs a request: two products side by side, one of which keeps no books."""

import time
from typing import Any

from bench.pairs import Ratio, alternate, interval, median, ratio
from bench.processes import LOAD, MEASURED, load, stub_engine
from bench.product import Product

CONNECTIONS, CHAT = 32, "/v1/chat/completions"
DRAIN_S = 1.5  # the background process takes what a run left behind in that time
TO_REACH = 0.08


class Side:
    """One product under load, by its processes' own CPU seconds."""

    def __init__(self, engine: str, seconds: float, **more: str) -> None:
        self._product = Product(f"m={engine}", core=MEASURED, **more)
        self._seconds = seconds
        self.drains_later = False

    def run(self) -> dict[str, Any]:
        """`web_us` and `background_us` a request, `rps`."""
        product = self._product
        web, background = product.web.cpu_s(), product.background.cpu_s()
        if self.drains_later:
            product.background.pause()
        try:
            found = load(product.url + CHAT, CONNECTIONS, self._seconds, "--key", product.key)
        finally:
            product.background.go_on()
        web = product.web.cpu_s() - web
        time.sleep(DRAIN_S)
        background = product.background.cpu_s() - background
        n = found["requests"]
        return {"web_us": web / n * 1e6, "background_us": background / n * 1e6, "rps": found["rps"]}

    def stop(self) -> None:
        self._product.stop()


def measure(n_pairs: int, seconds: float) -> tuple[list[str], Ratio]:
    """The Markdown, and the CPU of the web worker with books over without.

    The background process stands still during a run and drains after it: what it does on the load's
    core slows the load, and a worker that is woken for fewer requests at once needs more time for each.
    A second table has it drain at the same time.
    """
    stub, engine = stub_engine(LOAD)
    sides: list[Side] = []
    lines: list[str] = []
    shares = []
    try:
        sides = [Side(engine, seconds), Side(engine, seconds, LOCALAI_DISABLE_STATS="true")]
        for drains_later in (True, False):
            for side in sides:
                side.drains_later = drains_later
                side.run()
            kept, none = alternate(sides[0].run, sides[1].run, n_pairs)
            lines += ["", *_table(kept, none, n_pairs, seconds, drains_later=drains_later)]
            shares.append(ratio(kept, none, "web_us"))
    finally:
        for side in sides:
            side.stop()
        stub.stop()
    return lines, shares[0]


def _table(
    kept: list[dict[str, Any]],
    none: list[dict[str, Any]],
    n_pairs: int,
    seconds: float,
    *,
    drains_later: bool,
) -> list[str]:
    when = "after the run" if drains_later else "during the run"
    lines = [
        f"Drained {when}:",
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
    more = interval([a["web_us"] - b["web_us"] for a, b in zip(kept, none, strict=True)])
    share = ratio(kept, none, "web_us")
    lines.append(
        f"\n{n_pairs} alternating pairs of {seconds:g} s, {CONNECTIONS} connections. Web worker: {more} µs more, "
        f"{share} times; background process: {behind} µs more."
    )
    return lines
