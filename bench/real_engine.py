"""The real engine directly and through the product: time to first token, tokens/s, our CPU per 1,000 tokens."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from bench.pairs import alternate, median, ratio
from bench.processes import ROOT, Process, free_port, wait_for
from bench.product import Product
from tests.servers import CACHE, CHAT

TOKENS = {1: 192, 8: 64, 32: 64}  # of each stream: single ones are the noisiest
PAIRS = 7


def start_engine() -> tuple[Process, str]:
    """vLLM with the default model, by the recipe's own words, on a loopback port."""
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
    process = Process(line, core=None, **environment)
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


def measure() -> list[str]:
    engine, url = start_engine()
    product = Product(f"{CHAT}={url}", core=None, model=CHAT)
    lines = [
        "",
        "### The real engine",
        "",
        "| streams | direct: first token ms | tokens/s | product: first token ms | tokens/s | ratio of tokens/s | |",
        "|---|---|---|---|---|---|---|",
    ]
    try:
        ask(url, 32)
        began, tokens = product.web.cpu_s(), 0
        for streams in (1, 8, 32):
            ours = partial(ask, product.url, streams, "--key", product.key)
            through, direct = alternate(ours, partial(ask, url, streams), PAIRS)
            share = ratio(through, direct, "tokens_per_s")
            tokens += PAIRS * streams * TOKENS[streams]
            met = "met" if share.mean >= 0.95 else "**not met** (0.95)"
            cells = [
                f"{median(r, w):.0f}"
                for r in (direct, through)
                for w in ("first_ms", "tokens_per_s")
            ]
            lines.append(f"| {streams} | " + " | ".join(cells) + f" | {share} | {met} |")
        spent = product.web.cpu_s() - began
        lines += ["", f"The product's own CPU: {spent / tokens * 1000:.3f} s per 1,000 tokens."]
        memory = engine.memory_mb()
        lines += [
            "",
            "Resident memory of the engine: "
            + ", ".join(f"{n} {mb:.0f} MB" for n, mb in memory.items())
            + ".",
        ]
    finally:
        product.stop()
        engine.stop()
    return lines
