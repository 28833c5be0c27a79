"""Many people at once, as a process of its own: what each of their requests was told, as JSON lines.

`python -m tests.faults.crowd URL SECONDS OUT`, with one API key a line on stdin. Every third key is a
quiet person's: short requests, each on a connection of its own.
"""

import asyncio
import json
import random
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx

LONGEST_S = 30.0
MESSAGES = [{"role": "user", "content": "hi"}]
STREAMED = ("/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses")
COUNTERS = ("/v1/messages/count_tokens", "/v1/tokenize", "/v1/detokenize")
PLAIN = (*STREAMED, "/v1/embeddings", *COUNTERS)
DELTAS = ("content_block_delta", "response.output_text.delta")
USAGE = (("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens"))


@dataclass
class Told:
    """One request as its caller saw it. `outcome` is whole, error, broke or hung (up)."""

    cid: str
    user: int
    path: str
    stream: bool
    asked: int
    begun: float
    ended: float = 0.0
    status: int = 0
    outcome: str = "broke"
    usage: tuple[int, int] | None = None
    seen: int = 0
    sure: int = 0  # of those seen, what is a second old for certain
    _seen_at: list[float] = field(default_factory=list)

    def token(self) -> None:
        self.seen += 1
        self._seen_at.append(time.monotonic())

    def settle_sure(self, tick: float) -> None:
        """By our own clock with half a second for a busy machine, and by the engine's pace."""
        if self._seen_at:
            until = self._seen_at[-1] - 1.5 - tick
            by_time = sum(each <= until for each in self._seen_at)
            self.sure = max(0, min(by_time, self.seen - int(1.5 / tick) - 2))


def body_of(path: str, *, stream: bool, tokens: int, tick: float) -> dict:
    """A request for `tokens` tokens, one each `tick` seconds where it is streamed."""
    body = {"model": "m", "stub": {"tokens": tokens, "tick": tick}}
    if stream:
        body["stream"] = True
    if path in {"/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens"}:
        body["messages"] = MESSAGES
    if path == "/v1/messages":
        body["max_tokens"] = 1000
    if path in {"/v1/responses", "/v1/embeddings"}:
        body["input"] = "hi"
    if path == "/v1/responses":
        body["store"] = tokens % 2 == 0
    if path == "/v1/completions":
        body["prompt"] = "hi"
    if path == "/v1/tokenize":
        body["content"] = "hi there"
    if path == "/v1/detokenize":
        body["tokens"] = [1, 2]
    if stream and path in {"/v1/chat/completions", "/v1/completions"}:
        body["stream_options"] = {"include_usage": True}
    return body


def usage_in(body: dict) -> tuple[int, int] | None:
    """The counts of an answer or of an event, whichever family it is of."""
    found = body.get("usage") or (body.get("response") or {}).get("usage")
    for prompt, completion in USAGE:
        if found and prompt in found:
            return found[prompt], found.get(completion, 0)
    return None


class Person:
    """One key and its requests, one at a time."""

    def __init__(self, url: str, number: int, key: str, until: float) -> None:
        self._url, self._number, self._key, self._until = url, number, key, until
        self._chance = random.Random(number)
        self._is_quiet = number % 3 == 0

    async def live(self, out) -> None:
        n = 0
        headers = {"Authorization": f"Bearer {self._key}"}
        if self._is_quiet:
            headers["Connection"] = "close"
        async with httpx.AsyncClient(
            base_url=self._url, headers=headers, timeout=LONGEST_S
        ) as client:
            while time.time() < self._until:
                n += 1
                told = await self._ask(client, f"chaos-{self._number}-{n}")
                out.write(
                    json.dumps({k: v for k, v in asdict(told).items() if k != "_seen_at"}) + "\n"
                )
                pause = 2.0 if self._is_quiet else 0.15
                await asyncio.sleep(self._chance.uniform(0, pause) + (told.outcome == "error"))

    async def _ask(self, client: httpx.AsyncClient, cid: str) -> Told:
        chance = self._chance
        stream = not self._is_quiet and chance.random() < 0.5
        path = chance.choice(STREAMED if stream else PLAIN)
        tokens = chance.randint(1, 120 if stream else 40)
        tick = chance.choice([0.02, 0.05]) if stream else chance.choice([0.0, 0.0, 0.05])
        leave_after = chance.randint(0, tokens) if stream and chance.random() < 0.2 else None
        told = Told(cid, self._number, path, stream, tokens, time.time())
        body = body_of(path, stream=stream, tokens=tokens, tick=tick)
        try:
            async with (
                asyncio.timeout(LONGEST_S),
                client.stream("POST", path, json=body, headers={"x-correlation-id": cid}) as answer,
            ):
                told.status = answer.status_code
                if stream and answer.status_code == 200:
                    await _read_stream(answer, told, leave_after)
                else:
                    _read_plain(await answer.aread(), told)
        except (httpx.HTTPError, TimeoutError):
            told.outcome = "broke"
        told.ended = time.time()
        told.settle_sure(tick or 1.0)
        return told


def _read_plain(raw: bytes, told: Told) -> None:
    if told.status != 200:
        told.outcome = "error"
        return
    told.usage = (0, 0) if told.path in COUNTERS else usage_in(json.loads(raw))
    told.outcome = "whole"


async def _read_stream(answer: httpx.Response, told: Told, leave_after: int | None) -> None:
    outcome = "broke"
    async for line in answer.aiter_lines():
        if line == "data: [DONE]" or '"type":"message_stop"' in line:
            outcome = "whole"
        if not line.startswith("data: {"):
            continue
        event = json.loads(line[6:])
        told.usage = usage_in(event) or told.usage
        if event.get("error"):
            told.outcome = "error"
            return
        if event.get("choices") or event.get("type") in DELTAS:
            told.token()
        if leave_after is not None and told.seen >= leave_after:
            told.outcome = "hung"
            return
    told.outcome = outcome


async def main(url: str, seconds: float, out_path: str, keys: list[str]) -> None:
    until = time.time() + seconds
    with Path(out_path).open("w") as out:
        people = [Person(url, number, key, until) for number, key in enumerate(keys)]
        await asyncio.gather(*(person.live(out) for person in people))


if __name__ == "__main__":
    given = [line.strip() for line in sys.stdin if line.strip()]
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), sys.argv[3], given))
