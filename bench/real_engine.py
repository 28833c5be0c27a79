"""The real engine directly and through the product: time to first token, tokens/s, our CPU per 1,000 tokens."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from bench.bars import Bar, Table
from bench.pairs import added, alternate, median, ratio
from bench.processes import ROOT, Process, free_port, wait_for
from bench.product import Product
from tests.servers import CACHE, CHAT

TOKENS = {1: 192, 8: 64, 32: 64}  # of each stream: single ones are the noisiest
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


def ask(url: str, streams: int, *more: str) -> dict[str, Any]:
    """One round of `streams` streams at once."""
    import json

    command = [
        sys.executable,
        "-m",
        "bench.load",
        f"{url}/v1/chat/completions",
        str(streams),
        "0.01",
    ]
    command += [
        "--stream",
        "--ignore-eos",
        "--model",
        CHAT,
        "--tokens",
        str(TOKENS[streams]),
        *more,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    found["tokens_per_s"] = streams * TOKENS[streams] / found["seconds"]
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
            ours = partial(ask, product.url, streams, "--key", product.key)
            through, direct = alternate(ours, partial(ask, url, streams), PAIRS)
            cells = [
                f"{median(r, w):.0f}"
                for r in (direct, through)
                for w in ("first_ms", "tokens_per_s")
            ]
            print(f"| {streams} | " + " | ".join(cells) + " |", flush=True)
            share = ratio(through, direct, "tokens_per_s")
            first = added(through, direct, "first_ms")
            bars += [
                Bar(f"tokens/s, {streams} streams", share, TOKENS_SHARE, at_least=True),
                Bar(f"first token added, {streams} streams, ms", first, FIRST_MS),
            ]
        tokens = PAIRS * sum(streams * n for streams, n in TOKENS.items())
        spent = (product.web.cpu_s() - began) / tokens * 1000
        held = ", ".join(f"{n} {mb:.0f} MB" for n, mb in engine.memory_mb().items())
        print(f"\nThe product's own CPU: {spent:.3f} s per 1,000 tokens. The engine holds: {held}.")
    finally:
        product.stop()
        engine.stop()
    table.add(*bars)
    return table
