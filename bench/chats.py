"""Twenty answers of conversations at once on SQLite, beside the same twenty by the API alone.

`python -m bench.chats [N] [TOKENS] [TICK]`: a server of its own with two web processes and the stub engine; every
answer is followed by its tab. Says how long the answers took, what other requests waited meanwhile, and whether
everything was kept.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from tests.servers import PASSWORD, Server
from tests.stub import StubEngine


async def read(answer: aiohttp.ClientResponse) -> int:
    """The tokens of a stream."""
    n = 0
    async for line in answer.content:
        if line.startswith(b"data: {"):
            data = json.loads(line[6:])
            text = data.get("content") or "".join(
                choice["delta"].get("content") or "" for choice in data.get("choices") or ()
            )
            n += text.count(" token") if isinstance(text, str) else 0
    return n


async def by_api(session: aiohttp.ClientSession, words: str) -> tuple[float, int]:
    body = {"model": "m", "messages": [{"role": "user", "content": words}], "stream": True}
    began = time.perf_counter()
    async with session.post("/v1/chat/completions", json=body) as answer:
        first = time.perf_counter() - began
        return first, await read(answer)


async def by_chat(session: aiohttp.ClientSession, words: str) -> tuple[float, int]:
    async with session.post("/api/chats", json={"model": "m"}) as made:
        path = f"/api/chats/{(await made.json())['id']}"
    began = time.perf_counter()
    async with session.post(f"{path}/messages", json={"content": words, "stream": True}) as answer:
        assert answer.status == 200, await answer.text()
        first = time.perf_counter() - began
        n = await read(answer)
    async with session.get(path) as kept:
        message = (await kept.json())["messages"][-1]
        assert message["status"] == "done", message
        assert message["content"].count(" token") == n
    return first, n


async def beside(session: aiohttp.ClientSession, times: dict[str, list[float]]) -> None:
    """Other people's requests: a list, a new chat (a write), a plain answer of the lane."""
    while True:
        for name, method, path, body in (
            ("list", "GET", "/api/chats", None),
            ("write", "POST", "/api/chats", {}),
            (
                "lane",
                "POST",
                "/v1/chat/completions",
                {"model": "m", "messages": [{"role": "user", "content": "x"}]},
            ),
        ):
            began = time.perf_counter()
            async with session.request(method, path, json=body) as answer:
                await answer.read()
                assert answer.status < 300, answer.status
            times.setdefault(name, []).append(time.perf_counter() - began)
        await asyncio.sleep(0.02)


async def round_of(server: Server, people: list[dict[str, str]], work: Any, words: str) -> None:
    sessions = [aiohttp.ClientSession(server.url, cookies=each) for each in people]
    times: dict[str, list[float]] = {}
    other = asyncio.create_task(beside(sessions[0], times))
    began = time.perf_counter()
    found = await asyncio.gather(*(work(session, words) for session in sessions))
    took = time.perf_counter() - began
    other.cancel()
    for session in sessions:
        await session.close()
    firsts = sorted(first * 1000 for first, _ in found)
    print(
        f"{work.__name__}: {took:.2f} s; begun after {statistics.median(firsts):.0f} ms (p50), "
        f"{firsts[-1]:.0f} ms (most); tokens {sum(n for _, n in found)}"
    )
    for name, each in times.items():
        each.sort()
        print(
            f"  beside, {name}: {len(each)}, p50 {each[len(each) // 2] * 1000:.1f} ms, "
            f"p95 {each[int(len(each) * 0.95)] * 1000:.1f} ms, most {each[-1] * 1000:.1f} ms"
        )


async def sign_up(server: Server, n: int) -> list[dict[str, str]]:
    people = []
    for i in range(n):
        async with aiohttp.ClientSession(server.url) as session:
            body = {"email": f"p{i}@example.org", "password": PASSWORD}
            async with session.post("/api/auth/register", json=body) as made:
                people.append({name: cookie.value for name, cookie in made.cookies.items()})
    return people


def main(n: int = 20, tokens: int = 400, tick: float = 0.02) -> None:
    words = "stub " + json.dumps({"tokens": tokens, "tick": tick})
    engine = StubEngine()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(
            Path(folder),
            web_only=True,
            LOCALAI_ENGINES=f"m={engine.url}",
            LOCALAI_REGISTRATION_MODE="open",
        )
        try:
            people = asyncio.run(sign_up(server, n))
            print(f"{n} answers of {tokens} tokens, one each {tick * 1000:.0f} ms")
            for work in (by_api, by_chat, by_api, by_chat):
                asyncio.run(round_of(server, people, work, words))
            locked = server.log.read_text().count("in a moment")
            print(f"times that the database was busy: {locked}")
        finally:
            server.stop()
            engine.stop()


if __name__ == "__main__":
    given = sys.argv[1:]
    main(*(kind(value) for kind, value in zip((int, int, float), given, strict=False)))
