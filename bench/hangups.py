"""A million requests of which a tenth is hung up on: memory stays, and the books are what callers counted.

`python -m bench.hangups URL COUNT KEY OTHER_KEY` is the load by itself and prints its sums as JSON. Requests that
are heard to their end bear KEY, those that are hung up on OTHER_KEY, so that the books tell them apart: of the first,
requests and tokens are equal to the answers' own. Of the second, whoever left in the middle of an answer is a
request, with tokens between what was seen and what was asked for, and whoever left before it an error.
"""

import asyncio
import json
import random
import subprocess
import sys
import time
from typing import Any
from urllib.parse import urlsplit

import httptools
import orjson
import uvloop

from bench.bars import Bar, Table, exact
from bench.processes import CHAT, LOAD, MEASURED, ROOT, stub_engine
from bench.product import Product

CALLERS, SHARE = 192, 0.1
WARM, GROWTH_MB = 150_000, 10.0
TAKEN_S = 0.5  # a plain request is hung up on so late: nobody stands still that long
STREAM = {"tokens": 40, "tick": 0.01}
LONGEST_S = 3_600


def request(host: str, key: str, **more: Any) -> bytes:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **more}
    raw = json.dumps(body, separators=(",", ":")).encode()
    return (
        f"POST {CHAT} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {key}\r\ncontent-length: {len(raw)}\r\n\r\n"
    ).encode() + raw


class Sums:
    """What all callers counted."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.whole = self.early = self.amid = self.errors = 0
        self.prompt = self.completion = self.seen = 0


class Caller(asyncio.Protocol):
    """One connection: asks again and again, or is closed in the middle of an answer."""

    def __init__(self, sums: Sums, payloads: list[bytes], ended: asyncio.Future[None]) -> None:
        self._sums, self._ended = sums, ended
        self._plain, self._waiting, self._streamed = payloads
        self._leave_after = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        if not self._sums.left:
            self._transport.close()
            return
        self._sums.left -= 1
        self._parser = httptools.HttpResponseParser(self)
        self._body = b""
        self._leave_after = 0
        if random.random() >= SHARE:
            self._transport.write(self._plain)
        elif random.random() < 0.5:
            self._transport.write(self._waiting)
            asyncio.get_running_loop().call_later(TAKEN_S, self._leave_early)
        else:
            self._leave_after = random.randint(1, STREAM["tokens"] // 2)
            self._transport.write(self._streamed)

    def _leave_early(self) -> None:
        self._sums.early += 1
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body
        if self._leave_after and not self._transport.is_closing():
            seen = self._body.count(b'"content":')
            if seen >= self._leave_after:
                self._sums.seen += seen
                self._sums.amid += 1
                self._transport.close()

    def on_message_complete(self) -> None:
        if self._transport.is_closing():
            return
        if self._parser.get_status_code() != 200 or self._leave_after:
            self._sums.errors += 1
        else:
            usage = orjson.loads(self._body)["usage"]
            self._sums.whole += 1
            self._sums.prompt += usage["prompt_tokens"]
            self._sums.completion += usage["completion_tokens"]
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


async def calls(url: str, sums: Sums, keys: tuple[str, str]) -> None:
    """One caller's connections, one after another, until all requests were sent."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    heard, unheard = keys
    payloads = [
        request(parts.netloc, heard),
        request(parts.netloc, unheard, stub={"tick": TAKEN_S * 5}),
        request(parts.netloc, unheard, stub=STREAM, stream=True),
    ]
    while sums.left:
        ended = loop.create_future()
        made = Caller(sums, payloads, ended)
        await loop.create_connection(lambda made=made: made, parts.hostname, parts.port)
        await ended


async def load(url: str, count: int, keys: tuple[str, str]) -> dict[str, Any]:
    sums = Sums(count)
    began = time.perf_counter()
    await asyncio.gather(*(calls(url, sums, keys) for _ in range(CALLERS)))
    return {**vars(sums), "seconds": time.perf_counter() - began}


def measure(count: int) -> Table:
    table = Table(f"{count:,} requests, {SHARE:.0%} hung up on")
    stub, engine = stub_engine(LOAD)
    with stub, Product(f"m={engine}", core=MEASURED) as product:
        keys = [product.make_key(name) for name in ("heard", "unheard")]
        _load(product, WARM, *(product.make_key(name) for name in ("warm", "up")))
        before = product.web.own_mb()
        sums = _load(product, count, *keys)
        after = product.web.own_mb()
        heard = product.books(keys[0], sums["whole"])
        unheard = product.books(keys[1], sums["amid"], sums["early"])
    print(f"\n{count / sums['seconds']:,.0f} requests/s, {count:,} in {sums['seconds']:.0f} s.")
    tokens = unheard["completion_tokens"]
    most = sums["amid"] * STREAM["tokens"]
    table.add(
        Bar("memory of the worker grew by, MB", exact(after - before), GROWTH_MB),
        Bar("answers that were errors", exact(sums["errors"]), 0),
        _equal("requests heard to their end", heard["request_count"], sums["whole"]),
        _equal("their prompt tokens", heard["prompt_tokens"], sums["prompt"]),
        _equal("their completion tokens", heard["completion_tokens"], sums["completion"]),
        _equal("left in the middle", unheard["request_count"], sums["amid"]),
        Bar("their tokens, books/seen", exact(tokens / sums["seen"]), 1, at_least=True),
        Bar("their tokens, books/asked for", exact(tokens / most), 1),
        _equal("left before the answer, errors", unheard["error_count"], sums["early"]),
    )
    return table


def _load(product: Product, count: int, *keys: dict[str, str]) -> dict[str, Any]:
    command = ["taskset", "-c", str(LOAD), sys.executable, "-m", "bench.hangups", product.url]
    command += [str(count), *(each["key"] for each in keys)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_S)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _equal(name: str, books: float, counted: float) -> Bar:
    """Nothing too much and nothing too little."""
    apart = books - counted
    return Bar(f"{name}, books - callers ({apart:+,} of {counted:,})", exact(abs(apart)), 0)


def main() -> None:
    url, count, heard, unheard = sys.argv[1:]
    print(json.dumps(uvloop.run(load(url, int(count), (heard, unheard)))))


if __name__ == "__main__":
    main()
