"""The real engine directly and through the product: time to first token, tokens/s, our CPU per 1,000 tokens.

Of the time to a first token the engine has books of its own, from the arrival of a request to its token. They
move by more than the product adds, so what is judged is the rest: the callers' mean less the engine's.
"""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from bench.bars import Bar, Table
from bench.pairs import added, alternate, median, ratio
from bench.processes import CHAT as ROUTE
from bench.processes import ROOT, Process, free_port, socket_place, wait_for
from bench.product import Product
from inference.sockets import place_of, read_metrics
from tests.servers import CACHE, CHAT

TOKENS = {1: 192, 8: 64, 32: 64}  # of each stream: single ones are the noisiest
FIRSTS = {1: 32, 8: 12, 32: 8}  # short answers of each stream, for the time to their first token
SHORT = 8
# two runs of the same differ by up to 10 % in tokens/s, and by 4 ms where 32 arrive at once
PAIRS = {1: 16, 8: 24, 32: 20}
PAIRS_OF_FIRSTS = {1: 12, 8: 21, 32: 30}
TOKENS_SHARE, FIRST_MS = 0.95, 3.0


def start_engine(*flags: str) -> tuple[Process, str, str]:
    """vLLM with the default model, by the recipe's own words and `flags`, as nice as the product has it:
    its addresses on a loopback port and on a Unix socket.
    """
    from bench.engine_on_both import SERVER
    from inference.guardian import NICENESS
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
    door = socket_place()
    where = line.index("-m")
    if line[where + 1] != SERVER:
        raise RuntimeError(f"the recipe starts {line[where + 1]}")
    line[where : where + 2] = ["-P", str(ROOT / "bench" / "engine_on_both.py"), door]
    environment = engine_environment(recipe, {"PATH": "/usr/bin:/bin"}, Path("/tmp"), values)
    environment["HOME"] = str(Path.home())
    nice = ["nice", "-n", str(NICENESS)]
    process = Process([*nice, *line, *flags], core=None, **environment)
    wait_for(f"http://127.0.0.1:{port}/health", 300)
    return process, f"http://127.0.0.1:{port}", f"unix:{door}"


def ask(url: str, streams: int, key: str = "") -> dict[str, Any]:
    """One round of `streams` streams at once: `tokens_per_s`."""
    found = _streams(url, streams, key, "0.01", "--tokens", str(TOKENS[streams]))
    return {**found, "tokens_per_s": streams * TOKENS[streams] / found["seconds"]}


def ask_shortly(url: str, streams: int, key: str = "", *, engine: int) -> dict[str, Any]:
    """Short answers one after another on as many connections: `first_ms` is the median of many, and of
    their mean `engine_ms` was within the engine on that port, `outside_ms` was not.
    """
    count = ("--count", str(FIRSTS[streams] * streams))
    before = _own_books(engine)
    found = _streams(url, streams, key, "600", "--tokens", str(SHORT), *count)
    seconds, n = (now - then for now, then in zip(_own_books(engine), before, strict=True))
    if n != found["requests"]:
        raise RuntimeError(f"the engine counted {n:.0f} of {found['requests']} first tokens")
    inside_ms = seconds / n * 1000
    return {**found, "engine_ms": inside_ms, "outside_ms": found["first_mean_ms"] - inside_ms}


def _own_books(port: int) -> tuple[float, float]:
    """The engine's own seconds to first tokens, summed, and how many there were."""
    found = read_metrics(port, timeout_s=10) or {}
    name = "vllm:time_to_first_token_seconds"
    return found[f"{name}_sum"], found[f"{name}_count"]


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
    engine, url, door = start_engine()
    product = Product(f"{CHAT}={door}", core=None, model=CHAT)
    print(
        "\n| streams | direct: first token ms | tokens/s | product: first token ms | tokens/s |"
        "\n|---|---|---|---|---|",
        flush=True,
    )
    bars: list[Bar] = []
    moved = ["\nWith what the engine itself moved by:\n"]
    try:
        ask(url, 32)
        began = product.web.cpu_s()
        for streams in TOKENS:
            sides = (product.url, streams, product.key), (url, streams)
            shortly = (partial(ask_shortly, *side, engine=place_of(url)) for side in sides)
            first = alternate(*shortly, PAIRS_OF_FIRSTS[streams])
            through = alternate(*(partial(ask, *side) for side in sides), PAIRS[streams])
            cells = [
                f"{median(runs[at], what):.0f}"
                for at in (1, 0)
                for runs, what in ((first, "first_ms"), (through, "tokens_per_s"))
            ]
            print(f"| {streams} | " + " | ".join(cells) + " |", flush=True)
            share, outside = ratio(*through, "tokens_per_s"), added(*first, "outside_ms")
            bars += [
                Bar(f"tokens/s, {streams} streams", share, TOKENS_SHARE, at_least=True),
                Bar(f"first token added, {streams} streams, ms", outside, FIRST_MS),
            ]
            moved.append(
                f"- {streams} streams, ms more than direct: medians {added(*first, 'first_ms')}, "
                f"within the engine {added(*first, 'engine_ms')}"
            )
        tokens = sum(
            n * (PAIRS[n] * TOKENS[n] + PAIRS_OF_FIRSTS[n] * FIRSTS[n] * SHORT) for n in TOKENS
        )
        spent = (product.web.cpu_s() - began) / tokens * 1000
        held = ", ".join(f"{n} {mb:.0f} MB" for n, mb in engine.memory_mb().items())
        print(f"\nThe product's own CPU: {spent:.3f} s per 1,000 tokens. The engine holds: {held}.")
    finally:
        product.stop()
        engine.stop()
    table.add(*bars)
    print("\n".join(moved), flush=True)
    return table
