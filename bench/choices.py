"""What the parts cost that were chosen: uvloop beside asyncio's own loop, orjson beside msgspec, Prometheus.

`python -m bench.choices [--only loop,json,metrics]` prints Markdown for docs/performance.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import timeit
from functools import partial
from pathlib import Path

from bench.pairs import alternate, median, ratio
from bench.peers import environment
from bench.processes import LOAD, MEASURED, ROOT, stub_engine
from bench.product import Product
from bench.run import title
from bench.streams import run_requests
from bench.stub_engine import FAST

PAIRS, SECONDS = 7, 3.0
PROCESSES = (1, 2, 4, 8, 16)
SAYS = "The quick brown fox jumps over the lazy dog. "


def loop() -> None:
    """CPU of a request with either loop, in turn on the same core."""
    stub, engine = stub_engine(LOAD)
    usual = partial(Product, f"m={engine}", core=MEASURED)
    with stub, usual() as ours, usual(worker="bench.plain_loop.Worker") as plain:
        sides = [
            partial(run_requests, each.web, each.url, each.key, SECONDS) for each in (ours, plain)
        ]
        for each in sides:
            each()
        mine, other = alternate(*sides, PAIRS)
    print("\n| loop | µs of CPU a request | requests/s |\n|---|---|---|")
    print(f"| uvloop | {median(mine, 'us'):.1f} | {median(mine, 'rps'):,.0f} |")
    print(f"| asyncio's own | {median(other, 'us'):.1f} | {median(other, 'rps'):,.0f} |")
    print(f"| uvloop/asyncio's | {ratio(mine, other, 'us')} | {ratio(mine, other, 'rps')} |")


def bodies() -> dict[str, bytes]:
    """What goes through the lane: two requests, an answer, a chunk."""
    small = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 64}
    turns = [{"role": "user", "content": SAYS * 15} for _ in range(40)]
    choice = {"index": 0, "delta": {"content": " token"}, "finish_reason": None}
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice]}
    return {
        "small request": json.dumps(small).encode(),
        "long request": json.dumps({**small, "messages": turns}).encode(),
        "answer": FAST,
        "chunk": json.dumps(chunk).encode(),
    }


TIMED = """
import json, sys, timeit
import msgspec.json, orjson
for name, text in json.load(sys.stdin).items():
    raw, found = text.encode(), [name, str(len(text))]
    value = orjson.loads(raw)
    sides = [lambda: orjson.loads(raw), lambda: msgspec.json.decode(raw),
             lambda: orjson.dumps(value), lambda: msgspec.json.encode(value)]
    for each in sides:
        n = 20000 if len(raw) < 2000 else 2000
        found.append(f"{min(timeit.repeat(each, number=n, repeat=15)) / n * 1e6:.2f}")
    print("| " + " | ".join(found) + " |")
"""


def encoders() -> None:
    """The least of many rounds, each library into plain dicts."""
    python = environment("msgspec", "msgspec", "orjson")
    given = json.dumps({name: raw.decode() for name, raw in bodies().items()})
    command = ["taskset", "-c", str(MEASURED), str(python), "-c", TIMED]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    print("\n| body | bytes | orjson reads, µs | msgspec reads | orjson writes | msgspec writes |")
    print(f"|---|---|---|---|---|---|\n{done.stdout.strip()}")


COUNTS = """
import sys
from core import call_times
for n in range(40):
    call_times.record(f"/v1/path-{n}", "POST", 0.01)
call_times.publish()
print("written", flush=True)
sys.stdin.read()
"""


def metrics() -> None:
    """What counting a call costs, and a scrape over the files of several processes."""
    print("\n| processes | a scrape, ms |\n|---|---|")
    for n in PROCESSES:
        with tempfile.TemporaryDirectory() as folder:
            told = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": folder}
            made = [
                subprocess.Popen(
                    [sys.executable, "-c", COUNTS],
                    env=told,
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
                for _ in range(n)
            ]
            for each in made:
                assert each.stdout is not None
                each.stdout.readline()
            print(f"| {n} | {_scrape_ms(Path(folder)):.1f} |", flush=True)
            for each in made:
                each.communicate()
    print(f"\nCounting a call in the lane: {_count_us():.2f} µs.")


def _scrape_ms(folder: Path) -> float:
    from core import metric_files

    return min(timeit.repeat(lambda: metric_files.collect(folder), number=3, repeat=5)) / 3 * 1000


def _count_us() -> float:
    from core import call_times

    n = 100_000
    call = partial(call_times.record, "/v1/chat/completions", "POST", 0.01)
    return min(timeit.repeat(call, number=n, repeat=7)) / n * 1e6


PARTS = {"loop": loop, "json": encoders, "metrics": metrics}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default=",".join(PARTS))
    chosen = parser.parse_args().only.split(",")
    print(title("bench.choices"), flush=True)
    for name in chosen:
        PARTS[name]()


if __name__ == "__main__":
    main()
