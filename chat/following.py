"""Following an answer as server-sent events: what came so far, then what comes, from any process.

Where the answer is written in this process, its pieces are passed on as they come; where it is another's, or
that is over, the row is looked at a few times a second. A reader tells by `after` what it has: the `id` of
the last event it saw.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from django.core.handlers.asgi import ASGIRequest
from django.db.models import F
from django.db.models.functions import Length, Substr
from django.http import HttpRequest, StreamingHttpResponse

from chat import leases
from chat.bounds import MAX_WATCHERS_A_WORKER
from chat.desk import desk
from chat.live import Live
from chat.models import Message, Status
from chat.shown import ended
from core.errors import InvalidRequestError, QueueFullError

LOOK_S, QUIET_S, TOGETHER_S = 0.25, 15.0, 0.02
_CURSOR = re.compile(r"(\d{1,9})(?:\.(\d{1,9}))?")
_watchers: set[object] = set()


@dataclass(slots=True)
class Place:
    """How many characters a reader has of the content and of the reasoning."""

    content: int = 0
    reasoning: int = 0

    @classmethod
    def read(cls, after: str) -> "Place":
        """Raises InvalidRequestError for what no event had as its id."""
        found = _CURSOR.fullmatch(after or "0")
        if found is None:
            raise InvalidRequestError("after is not the id of an event", param="after")
        return cls(int(found[1]), int(found[2] or 0))

    def __str__(self) -> str:
        return f"{self.content}.{self.reasoning}"


@dataclass(frozen=True, slots=True)
class Seen:
    """What is new behind a reader's place, and how long all of it is."""

    content: str
    reasoning: str
    n_content: int
    n_reasoning: int
    tokens: int | None


def event(name: str, data: Any, place: Place | None = None) -> bytes:
    """One server-sent event; with a `place` its id, which a reader comes back with."""
    head = f"id: {place}\n" if place is not None else ""
    return (
        f"{head}event: {name}\ndata: ".encode()
        + orjson.dumps(data, option=orjson.OPT_UTC_Z)
        + b"\n\n"
    )


def pieces(place: Place, seen: Seen) -> list[bytes]:
    """Events that bring a reader from `place` to what was seen; `place` moves with them."""
    out = []
    if place.content > seen.n_content or place.reasoning > seen.n_reasoning:
        out.append(event("reset", {}, Place()))  # it has more than was kept: from the beginning
        place.content = place.reasoning = 0
        return out
    data: dict[str, Any] = {}
    if seen.content:
        data["content"] = seen.content
    if seen.reasoning:
        data["reasoning"] = seen.reasoning
    if data:
        place.content += len(seen.content)
        place.reasoning += len(seen.reasoning)
        data["tokens"] = seen.tokens
        out.append(event("delta", data, place))
    return out


def refuse_too_many() -> None:
    """Raise QueueFullError where as many follow in this process as may."""
    if len(_watchers) >= MAX_WATCHERS_A_WORKER:
        raise QueueFullError("Too many answers are being followed.", retry_after_s=5)


async def follow(message_id: UUID, place: Place, live: Live | None = None) -> AsyncIterator[bytes]:
    """The events of one answer until it ends; `live` where it is written here."""
    me = object()
    _watchers.add(me)
    try:
        live = live or desk().find(message_id)
        if live is not None:
            async for piece in _from_here(live, place):
                yield piece
        async for piece in _from_rows(message_id, place):
            yield piece
    finally:
        _watchers.discard(me)


async def _from_here(live: Live, place: Place) -> AsyncIterator[bytes]:
    """Until it ended; the last word is read from its row."""
    while True:
        ended_before = live.ended
        text = live.text()
        seen = Seen(
            text.content[place.content :],
            text.reasoning[place.reasoning :],
            len(text.content),
            len(text.reasoning),
            live.completion_tokens,
        )
        found = pieces(place, seen)
        for piece in found:
            yield piece
        if ended_before:
            return
        if found:
            await asyncio.sleep(TOGETHER_S)  # what comes at once goes together
        else:
            await live.moved(QUIET_S)
            if not live.ended and live.n_chars == len(text.content) + len(text.reasoning):
                yield b": still there\n\n"


async def _from_rows(message_id: UUID, place: Place) -> AsyncIterator[bytes]:
    """As far as it was written down; ends with what became of it."""
    quiet_s = 0.0
    while True:
        row = await desk().look(_look, message_id, place.content, place.reasoning)
        if row is None:
            yield event("gone", {})
            return
        seen, over = row
        found = pieces(place, seen)
        for piece in found:
            yield piece
        if place.content < seen.n_content or place.reasoning < seen.n_reasoning:
            continue  # it begins anew
        if over is not None:
            yield event("end", over, place)
            return
        await asyncio.sleep(LOOK_S)
        quiet_s = 0.0 if found else quiet_s + LOOK_S
        if quiet_s >= QUIET_S:
            quiet_s = 0.0
            yield b": still there\n\n"


def _look(
    message_id: UUID, content: int, reasoning: int
) -> tuple[Seen, dict[str, Any] | None] | None:
    """What is behind a place of a row, and the last word if that was said; None where it is gone."""
    rows = Message.objects.filter(pk=message_id)
    found = (
        rows.annotate(
            more=Substr("content", content + 1),
            more_reasoning=Substr("reasoning", reasoning + 1),
            n_content=Length("content"),
            n_reasoning=Length("reasoning"),
            tokens=F("completion_tokens"),
        )
        .defer("content", "reasoning")
        .first()
    )
    if found is None:
        return None
    if leases.is_dead(found):
        leases.cut_off(rows)
        return _look(message_id, content, reasoning)
    over = None if found.status == Status.STREAMING else ended(found)
    return Seen(
        found.more, found.more_reasoning, found.n_content, found.n_reasoning, found.tokens
    ), over


def response(request: HttpRequest, events: AsyncIterator[bytes]) -> StreamingHttpResponse:
    """The answer that carries them; without a loop of our own, as under the test client, one by one."""
    on_asgi = isinstance(request, ASGIRequest)
    made = StreamingHttpResponse(
        events if on_asgi else _one_by_one(events), content_type="text/event-stream; charset=utf-8"
    )
    made["Cache-Control"] = "no-cache"
    made["X-Accel-Buffering"] = "no"
    return made


def _one_by_one(events: AsyncIterator[bytes]) -> Iterator[bytes]:
    async def following() -> bytes | None:
        return await anext(events, None)

    while (
        piece := asyncio.run_coroutine_threadsafe(following(), desk().loop).result()
    ) is not None:
        yield piece


async def behind(first: bytes, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """`first`, then the rest."""
    yield first
    async for each in events:
        yield each
