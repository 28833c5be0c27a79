"""What a second worker costs: requests for a CPU second of two workers and of one.

The load shares the cores, so plain requests/s would not say it. Nothing is pinned, on either side.
"""

from functools import partial

from bench.bars import Bar, Table
from bench.pairs import alternate, ratio
from bench.processes import LOAD, stub_engine
from bench.product import Product
from bench.streams import run_requests

SHARE = 0.9


def measure(n_pairs: int, seconds: float) -> Table:
    table = Table("Two workers")
    stub, engine = stub_engine(LOAD)
    served = f"m={engine}"
    with stub, Product(served, core=None) as one, Product(served, core=None, workers=2) as two:
        sides = [partial(run_requests, p.web, p.url, p.key, seconds) for p in (one, two)]
        for each in sides:
            each()
        runs = alternate(*sides, n_pairs)
    # A request's CPU with one over with two: the other way round, requests for a CPU second.
    share = ratio(*runs, "us")
    table.add(Bar("requests for a CPU second, two workers/one", share, SHARE, at_least=True))
    return table
