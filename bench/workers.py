"""What a second worker costs: requests for a CPU second of two workers and of one.

The load shares the cores, so plain requests/s would not say it. Nothing is pinned, on either side.
"""

from functools import partial
from typing import Any

from bench.bars import Bar, Table
from bench.pairs import alternate, ratio
from bench.processes import LOAD, load, stub_engine
from bench.product import Product

CONNECTIONS, CHAT = 32, "/v1/chat/completions"
SHARE = 0.9


def measure(n_pairs: int, seconds: float) -> Table:
    table = Table("Two workers")
    stub, engine = stub_engine(LOAD)
    one = Product(f"m={engine}", core=None)
    two = Product(f"m={engine}", core=None, workers=2)
    try:
        for each in (one, two):
            run(each, seconds)
        runs = alternate(partial(run, two, seconds), partial(run, one, seconds), n_pairs)
    finally:
        one.stop()
        two.stop()
        stub.stop()
    share = ratio(*runs, "per_cpu_s")
    table.add(
        Bar("requests for a CPU second, two workers/one", share, SHARE, at_least=True),
    )
    return table


def run(product: Product, seconds: float) -> dict[str, Any]:
    before = product.web.cpu_s()
    found = load(product.url + CHAT, CONNECTIONS, seconds, "--key", product.key)
    return {**found, "per_cpu_s": found["requests"] / (product.web.cpu_s() - before)}
