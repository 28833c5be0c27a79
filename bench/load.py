"""A small load generator: N connections of keep-alive HTTP/1.1, each sending as soon as it has its answer.

`python -m bench.load URL CONNECTIONS SECONDS [--stream] [--key KEY] [--model M] [--count N] [--rate R]` prints one
JSON line: requests, seconds, rps, p50_ms, p99_ms, chunks, first_ms and first_mean_ms (median and mean time to
the first chunk), errors;
with `--gaps` also gap_p99_ms, between two chunks of one stream. `--slow S` reads once in S seconds.
"""

import argparse
import asyncio
import json
import socket
import statistics
import time
from urllib.parse import urlsplit

import httptools
import uvloop


class Connection(asyncio.Protocol):
    """Sends the same request again and again until the deadline, and times each answer."""

    def __init__(self, plan: "Plan") -> None:
        self.plan = plan

    def connection_made(self, transport) -> None:
        self.transport = transport
        if self.plan.slow_s:
            small = transport.get_extra_info("socket")
            small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        self.send()

    def send(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.started = time.perf_counter()
        self.first = 0.0
        self.transport.write(self.plan.payload)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)
        if self.plan.slow_s and not self.transport.is_closing():
            self.transport.pause_reading()
            self.plan.loop.call_later(self.plan.slow_s, self.go_on)

    def go_on(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def on_body(self, body: bytes) -> None:
        if not self.first:
            self.first = self.last = time.perf_counter()
        elif self.plan.gaps is not None:
            now = time.perf_counter()
            self.plan.gaps.append(now - self.last)
            self.last = now
        self.plan.chunks += body.count(b"data: ")

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        plan = self.plan
        if self.parser.get_status_code() != 200:
            plan.errors += 1
        plan.times.append(now - self.started)
        plan.firsts.append((self.first or now) - self.started)
        if now < plan.deadline and (not plan.count or len(plan.times) + plan.n <= plan.count):
            early_s = self.started + plan.every_s - now
            if early_s > 0:
                plan.loop.call_later(early_s, self.send)
            else:
                self.send()
        else:
            self.transport.close()
            plan.left -= 1
            if plan.left == 0:
                plan.done.set_result(None)


class Plan:
    def __init__(self, arguments) -> None:
        body = {
            "model": arguments.model,
            "messages": [
                {
                    "role": "user",
                    "content": "What is the capital of France? Answer in one sentence.",
                }
            ],
            "max_tokens": arguments.tokens,
        }
        if arguments.stream:
            body["stream"] = True
        if arguments.ignore_eos:
            body["ignore_eos"] = True
        if arguments.stub:
            body["stub"] = json.loads(arguments.stub)
        raw = json.dumps(body, separators=(",", ":")).encode()
        parts = urlsplit(arguments.url)
        head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
        if arguments.key:
            head += f"authorization: Bearer {arguments.key}\r\n"
        for extra in arguments.header:
            head += extra + "\r\n"
        self.payload = head.encode() + b"content-length: %d\r\n\r\n" % len(raw) + raw
        self.times: list[float] = []
        self.firsts: list[float] = []
        self.gaps: list[float] | None = [] if arguments.gaps else None
        self.slow_s = arguments.slow
        self.chunks = self.errors = 0
        self.n = self.left = arguments.connections
        self.count = arguments.count
        self.seconds = arguments.seconds
        self.deadline = 0.0
        self.every_s = arguments.connections / arguments.rate if arguments.rate else 0.0
        self.loop = asyncio.get_running_loop()


async def run(arguments) -> dict:
    plan = Plan(arguments)
    loop = plan.loop
    plan.done = loop.create_future()
    parts = urlsplit(arguments.url)
    began = time.perf_counter()
    plan.deadline = began + arguments.seconds
    for _ in range(arguments.connections):
        await loop.create_connection(lambda: Connection(plan), parts.hostname, parts.port)
    await asyncio.wait_for(plan.done, arguments.seconds + 120)
    took = time.perf_counter() - began
    times = sorted(plan.times)
    gaps = sorted(plan.gaps or [0.0])
    return {
        "gap_p99_ms": gaps[int(len(gaps) * 0.99)] * 1000,
        "requests": len(times),
        "seconds": took,
        "rps": len(times) / took,
        "p50_ms": times[len(times) // 2] * 1000,
        "p99_ms": times[int(len(times) * 0.99)] * 1000,
        "chunks": plan.chunks,
        "chunks_per_s": plan.chunks / took,
        "first_ms": statistics.median(plan.firsts) * 1000,
        "first_mean_ms": statistics.fmean(plan.firsts) * 1000,
        "errors": plan.errors,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("connections", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--ignore-eos", action="store_true")
    parser.add_argument("--key", default="")
    parser.add_argument("--model", default="m")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0.0)  # requests/s of all, at most
    parser.add_argument("--stub", default="")
    parser.add_argument("--gaps", action="store_true")
    parser.add_argument("--slow", type=float, default=0.0)
    parser.add_argument("--header", action="append", default=[])
    print(json.dumps(uvloop.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
