"""To the engine and back with one plain answer. (A stream: `inference.relay`.)

Settlement comes before the last byte, and on every way out (design.md, "Usage").
"""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass

import orjson

from core.call import Answer, Call
from core.errors import (
    EngineFailedError,
    EngineRefusedError,
    GatehouseError,
    InvalidRequestError,
    NotSupportedError,
    RateLimitedError,
)
from inference.endpoints import Endpoint
from inference.engine_table import Desk, EngineTable, Target, all_of
from inference.fair_queue import FairQueue
from inference.families.base import Asked, Rules, loads
from inference.upstream import (
    EngineClient,
    EngineResponse,
    NoConnectionInTimeError,
    NotReachableError,
)
from usage.metering import Event, Meter

SERVES_NOBODY = {502, 503}
MAX_MESSAGE_CHARS, MAX_RETRY_AFTER_S = 2000, 3600.0
MAX_MOVES = 8  # how many lines one request stands in, where engines go away


@dataclass(slots=True)
class Exchange:
    """Everything one forwarded request needs, in one hand."""

    call: Call
    answer: Answer
    endpoint: Endpoint
    rules: Rules
    asked: Asked
    target: Target
    event: Event
    desk: Desk | None = None  # the engine's that it was sent to last
    places: FairQueue | None = None  # where this request holds a place
    was_cut: bool = False  # a stream that reached what was left of a quota

    def leave(self) -> None:
        """Give back the place at the engine, if one is held: its answer was read, or failed."""
        if self.places is not None:
            self.places.leave()
            self.places = None


def reach(exchange: Exchange, engines: EngineTable) -> Awaitable[EngineResponse]:
    """Take a place at the model's engine, send the request, wait for the head of the answer.

    Who stood in line at an engine that went away goes over to what serves the model then, such as
    the next version of its backend (R-33). Raises what `FairQueue.wait`, `EngineTable.why_not` and
    `EngineClient.request` say.
    """
    if not exchange.target.addresses:
        desk = exchange.desk = engines.desk(exchange.target)
        if desk.places.enter():
            exchange.places = desk.places
            return send(exchange, desk)
    return _reach_in_line(exchange, engines)


async def _reach_in_line(exchange: Exchange, engines: EngineTable) -> EngineResponse:
    gone: set[str] = set()  # addresses that did not take this request
    for _ in range(MAX_MOVES):
        if exchange.target.addresses:
            response = await _reach_one_of_several(exchange, engines, gone)
            if response is not None:
                return response
        else:
            desk = exchange.desk = engines.desk(exchange.target)
            if desk.places.enter() or await stand_in_line(exchange, desk):
                exchange.places = desk.places
                return await send(exchange, desk)
            gone.add(desk.client.address)
        if not await _goes_over(exchange, engines, gone):
            break
    raise await engines.why_not(exchange.target.name)


async def _goes_over(exchange: Exchange, engines: EngineTable, gone: set[str]) -> bool:
    """Whether there is another engine for it, now or in a moment; counts as waiting."""
    began = time.perf_counter()
    try:
        target = await engines.taken_over(exchange.target, gone)
    finally:
        _waited(exchange.call, began)
    if target is None:
        return False
    if gone.issuperset(all_of(target)):  # upgraded in its place: it is another one there
        gone.clear()
    exchange.target, exchange.asked.served_model = target, target.served_model
    return True


async def _reach_one_of_several(
    exchange: Exchange, engines: EngineTable, tried: set[str]
) -> EngineResponse | None:
    """The same with each engine once, the least busy first, until one takes the request; None where
    the engine in whose line it stood went away, or all of them were `tried`.

    It goes to another only where the last one cannot have begun with it (no connection, or one that
    broke before all was sent), or said itself that it serves nobody now (502, 503). What an engine
    may have worked on is never sent again: what killed one would kill them all.
    """
    target = exchange.target
    while (desk := engines.least_busy(target, tried)) is not None:
        exchange.desk = desk
        tried.add(desk.client.address)
        is_last = tried.issuperset(target.addresses)
        if not desk.places.enter() and not await stand_in_line(exchange, desk):
            return None
        exchange.places = desk.places
        exchange.asked.served_model = target.name_at(desk.client.address)
        try:
            response = await send(exchange, desk)
        except (NotReachableError, NoConnectionInTimeError):
            if is_last:
                raise
            status = 0
        except EngineFailedError:
            desk.avoid()  # one that fails at once would always be the least busy
            raise
        else:
            if is_last or response.status not in SERVES_NOBODY:
                return response
            status = response.status
            response.close()
        _give_up(exchange, desk, status)
        if engines.targets.get(target.name) is not target:  # what is known now is not that any more
            return None
    return None


def _give_up(exchange: Exchange, desk: Desk, status: int) -> None:
    """Turn from an engine that is down; the next few requests do so as well."""
    desk.avoid()
    exchange.leave()
    if exchange.call.trace is not None:
        exchange.call.trace.from_engine(status)


async def stand_in_line(exchange: Exchange, desk: Desk) -> bool:
    """Wait for a place at a busy engine; False where it went away. Raises as `FairQueue.wait`."""
    call = exchange.call
    assert call.principal is not None  # noqa: S101  # the gate came first
    began = time.perf_counter()
    try:
        return await desk.places.wait(call.principal.user_id)
    finally:
        _waited(call, began)


def _waited(call: Call, began: float) -> None:
    in_line_s = time.perf_counter() - began
    call.queue_s += in_line_s
    call.engine_wait_s += in_line_s


async def send(exchange: Exchange, desk: Desk) -> EngineResponse:
    """Send the body and wait for the head of the answer; counts as waiting meanwhile."""
    asked = exchange.asked
    asked.data["model"] = asked.served_model
    try:
        body = orjson.dumps(asked.data)
    except TypeError as exc:  # nested past what the encoder takes
        raise InvalidRequestError("The request body is nested too deeply.") from exc
    more, trace, upstream = b"", exchange.call.trace, exchange.endpoint.upstream
    if trace is not None:
        more = trace.to_engine(exchange.endpoint.name, upstream, asked.served_model)
    event = exchange.event
    began = event.sent_at = time.perf_counter()
    try:
        return await desk.client.request(b"POST", upstream.encode(), body, more)
    finally:
        now = event.head_at = time.perf_counter()
        exchange.call.engine_wait_s += now - began


async def refusal(response: EngineResponse, exchange: Exchange) -> GatehouseError:
    """The engine's error as ours: its 4xx with its message, its 5xx without (S-03)."""
    raw = await response.read()
    if response.status in {401, 403} or response.status >= 500 or response.status < 400:
        return EngineFailedError()
    message, param = _said(raw)
    if response.status == 429:
        seconds = response.retry_after  # bytes: of these only 0 to 9 are digits
        return RateLimitedError(
            message or "The engine is busy.",
            retry_after_s=min(float(seconds), MAX_RETRY_AFTER_S) if seconds.isdigit() else 5,
        )
    if response.status in {404, 405} or (response.status == 501):
        return NotSupportedError(
            message or f"{exchange.asked.model} does not serve {exchange.endpoint.name}."
        )
    return EngineRefusedError(
        message or "The engine refused the request.",
        status=413 if response.status == 413 else 400,
        param=param,
    )


def _said(raw: bytes) -> tuple[str, str | None]:
    """(message, param) out of an engine's error body, whichever shape it has."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return "", None
    error = body.get("error", body) if isinstance(body, dict) else {}
    if isinstance(error, str):
        return error[:MAX_MESSAGE_CHARS], None
    if not isinstance(error, dict):
        return "", None
    message, param = error.get("message"), error.get("param")
    if not isinstance(message, str) or message == "Not Found":
        message = ""
    return message[:MAX_MESSAGE_CHARS], param if isinstance(param, str) else None


def overhead(call: Call) -> tuple[bytes, bytes]:
    """The product's own share of the time so far, in milliseconds."""
    own_s = time.perf_counter() - call.started - call.engine_wait_s
    return (b"x-gatehouse-overhead-ms", b"%.3f" % (own_s * 1000))


async def plain(
    exchange: Exchange, response: EngineResponse, meter: Meter
) -> tuple[bytes, dict[str, object]]:
    """The whole answer as the caller gets it, and what it says. Raises what the engine did wrong."""
    began = time.perf_counter()
    raw = response.at_hand() or await response.read()
    exchange.call.engine_wait_s += time.perf_counter() - began
    exchange.leave()
    body = loads(raw)
    tokens = exchange.rules.usage(body)
    if tokens is not None:
        exchange.event.tokens(tokens.prompt, tokens.completion, tokens.cached)
    else:
        meter.unrecorded("no_usage")  # it counts as one request of no tokens (S-04)
    edited = exchange.rules.finish(body, exchange.asked)
    return (raw, body) if edited is None else (orjson.dumps(edited), edited)


async def count_text(client: EngineClient, model: str, body: dict[str, object]) -> int | None:
    """The engine's own count of a text or of messages; None where it does not answer in time."""
    try:
        async with asyncio.timeout(10):
            response = await client.request(
                b"POST", b"/tokenize", orjson.dumps({"model": model, **body})
            )
            try:
                count = loads(await response.read()).get("count")
            finally:
                response.close()
    except (GatehouseError, TimeoutError, TypeError):
        return None
    return count if isinstance(count, int) else None
