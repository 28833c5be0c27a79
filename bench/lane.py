"""`make bench-peers`: the way of a request beside other gateways and at its limits, each figure beside its bar.

`--only gateways,crowd,workers,hangups,engine` takes parts, `--quick` short runs to see that everything
works. Prints Markdown for docs/performance.md; exit status 1 where a bar was missed.
"""

import argparse
import sys
from collections.abc import Callable

from bench import crowd, gateways, hangups, real_engine, workers
from bench.bars import Table, status
from bench.processes import LOAD, MEASURED, stub_engine
from bench.product import Product
from bench.run import title

PAIRS, SECONDS = 7, 3.0
MILLION = 1_000_000


def beside_others(n_pairs: int, seconds: float) -> Table:
    """The product reaches its engine as it does those that it starts itself: by a Unix socket. The
    others know no such address; their engine has a port.
    """
    stub, engine = stub_engine(LOAD)
    own_stub, own_engine = stub_engine(LOAD, on_socket=True)
    with stub, own_stub, Product(f"m={own_engine}", core=MEASURED) as product:
        return gateways.measure(product, engine, n_pairs, seconds)


def parts(*, quick: bool) -> dict[str, Callable[[], Table]]:
    n, seconds = (3, 1.0) if quick else (PAIRS, SECONDS)
    return {
        "gateways": lambda: beside_others(n, seconds),
        "crowd": lambda: crowd.measure(n, 5 if quick else 15),
        "workers": lambda: workers.measure(n, seconds),
        "hangups": lambda: hangups.measure(20_000 if quick else MILLION),
        "engine": real_engine.measure,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    print(title("make bench-peers"), flush=True)
    chosen = arguments.only.split(",") if arguments.only else None
    all_parts = parts(quick=arguments.quick)
    sys.exit(status([run() for name, run in all_parts.items() if not chosen or name in chosen]))


if __name__ == "__main__":
    main()
