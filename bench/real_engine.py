"""The real engine directly and through the product: time to first token, tokens/s, our CPU per 1,000 tokens."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from bench.bars import Bar, Table
from bench.pairs import added, alternate, median, ratio
from bench.processes import CHAT as ROUTE
from bench.processes import ROOT, Process, free_port, wait_for
from bench.product import Product
from tests.servers import CACHE, CHAT

TOKENS = {1: 192, 8: 64, 32: 64}  # of each stream: single ones are the noisiest
FIRSTS = {1: 32, 8: 12, 32: 4}  # short answers of each stream, for the time to their first token
SHORT = 8
PAIRS = 7
TOKENS_SHARE, FIRST_MS = 0.95, 3.0


def start_engine(*flags: str) -> tuple[Process, str]:
    """vLLM with the default model, by the recipe's own words and `flags`, on a loopback port."""
    from inference.recipes import (
        built_in,
        command_line,
        engine_environment,
        placeholders,
        recipe_for,
    )

    recipe = recipe_for("vllm", built_in())
    port, options = free_port(), {"max_model_len": 2048}
    values = placeholders(
        recipe,
        python=recipe.python(CACHE / "backends"),
        model=CACHE / "models" / CHAT,
        name=CHAT,
        socket=Path("unused"),
        options=options,
    )
    line = command_line(recipe, values, options)
    where = line.index("--uds")
    line[where : where + 2] = ["--host", "127.0.0.1", "--port", str(port)]
    environment = engine_environment(recipe, {"PATH": "/usr/bin:/bin"}, Path("/tmp"), values)
    environment["HOME"] = str(Path.home())
    process = Process([*line, *flags], core=None, **environment)
    wait_for(f"http://127.0.0.1:{port}/health", 300)
    return process, f"http://127.0.0.1:{port}"


def ask(url: str, streams: int, key: str = "") -> dict[str, Any]:
    """One round of `streams` streams at once: `tokens_per_s`."""
    found = _streams(url, streams, key, "0.01", "--tokens", str(TOKENS[streams]))
    return {**found, "tokens_per_s": streams * TOKENS[streams] / found["seconds"]}


def ask_shortly(url: str, streams: int, key: str = "") -> dict[str, Any]:
    """Short answers one after another on as many connections: `first_ms` is the median of many."""
    count = ("--count", str(FIRSTS[streams] * streams))
    return _streams(url, streams, key, "600", "--tokens", str(SHORT), *count)


def _streams(url: str, streams: int, key: str, seconds: str, *more: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.load", url + ROUTE, str(streams), seconds]
    command += ["--stream", "--ignore-eos", "--model", CHAT, *(("--key", key) if key else ())]
    done = subprocess.run([*command, *more], cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    if found["errors"]:
        raise RuntimeError(f"{found['errors']} errors at {url}")
    return found


def measure() -> Table:
    """Direct and through the product in turn; the product runs on the engine's own cores."""
    table = Table("The real engine, product/direct")
    engine, url = start_engine()
    product = Product(f"{CHAT}={url}", core=None, model=CHAT)
    print(
        "\n| streams | direct: first token ms | tokens/s | product: first token ms | tokens/s |"
        "\n|---|---|---|---|---|",
        flush=True,
    )
    bars: list[Bar] = []
    try:
        ask(url, 32)
        began = product.web.cpu_s()
        for streams in TOKENS:
            sides = (product.url, streams, product.key), (url, streams)
            first = alternate(*(partial(ask_shortly, *side) for side in sides), PAIRS)
            through = alternate(*(partial(ask, *side) for side in sides), PAIRS)
            cells = [
                f"{median(runs[at], what):.0f}"
                for at in (1, 0)
                for runs, what in ((first, "first_ms"), (through, "tokens_per_s"))
            ]
            print(f"| {streams} | " + " | ".join(cells) + " |", flush=True)
            share, more = ratio(*through, "tokens_per_s"), added(*first, "first_ms")
            bars += [
                Bar(f"tokens/s, {streams} streams", share, TOKENS_SHARE, at_least=True),
                Bar(f"first token added, {streams} streams, ms", more, FIRST_MS),
            ]
        tokens = PAIRS * sum(n * (TOKENS[n] + FIRSTS[n] * SHORT) for n in TOKENS)
        spent = (product.web.cpu_s() - began) / tokens * 1000
        held = ", ".join(f"{n} {mb:.0f} MB" for n, mb in engine.memory_mb().items())
        print(f"\nThe product's own CPU: {spent:.3f} s per 1,000 tokens. The engine holds: {held}.")
    finally:
        product.stop()
        engine.stop()
    table.add(*bars)
    return table
