"""One answer, from the request to its last word: by the same handler as the API's callers get theirs."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any

import orjson

from chat.bounds import ANSWER_TIMEOUT_S
from chat.leases import DIED, WORDS
from chat.live import Live
from core import correlation
from core.call import Answer, Call, Message
from core.errors import GatehouseError, NotSupportedError, UnavailableError
from core.principal import Principal
from inference.endpoints import ENDPOINTS
from inference.handlers import infer
from inference.runtime import Runtime

log = logging.getLogger("gatehouse.chat")
ENDPOINT = ENDPOINTS["chat-completions"]
PATH = ENDPOINT.upstream
NO_IMAGES = "This model does not take images."
TOO_LONG = "The answer is longer than what is kept of one."
TOO_LATE = "The answer took longer than an answer may."
FAULT = "The server could not finish this answer."
TRIES, PAUSE_S = 8, 0.5
End = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of an engine, in whose name. `verdict` hears once whether the answer begins."""

    principal: Principal
    body: dict[str, Any]
    headers: dict[bytes, bytes]
    client: str
    correlation_id: bytes
    has_images: bool = False
    verdict: "Future[None]" = field(default_factory=Future)


async def produce(live: Live, order: Order, runtime: Runtime, end: End) -> None:
    """Write the answer and keep it, whoever listens. What is refused before it begins is the caller's
    to hear, as long as they wait for it; nothing is kept of it then.
    """
    correlation.current.set(order.correlation_id)
    fields: dict[str, Any] | None
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await _infer(live, order, runtime)
        fields = {"status": "done"}
    except GatehouseError as exc:
        if not live.status and _refused(order, exc):
            return
        fields = _broken(live, exc.reason, exc.message)
    except asyncio.CancelledError:
        if live.gone:
            _begun(order)
            return
        fields = _cancelled(live)
    except TimeoutError:
        fields = _broken(live, "too_long", TOO_LATE)
    except Exception:
        log.exception("unexpected error in an answer")
        fault = UnavailableError(FAULT, status=500)
        if not live.status and _refused(order, fault):
            return
        fields = _broken(live, fault.reason, FAULT)
    live.closing = True
    await _write_end(live, order, fields, end)
    _begun(order)


async def _infer(live: Live, order: Order, runtime: Runtime) -> None:
    raw = orjson.dumps(order.body)

    async def receive() -> Message:
        return {"type": "http.request", "body": raw}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            _begun(order)
        await live.send(message)

    call = Call(
        method="POST",
        path=PATH,
        query=b"",
        headers=order.headers,
        receive=receive,
        client=order.client,
    )
    call.principal = order.principal
    call.correlation_id = order.correlation_id
    if order.has_images:
        _refuse_images(runtime, order)
    if runtime.tracing is not None:
        call.trace = runtime.tracing.start("POST", PATH, order.headers, order.correlation_id)
    answer = Answer(send, [])
    try:
        await infer(call, answer, runtime, ENDPOINT)
    except GatehouseError as exc:
        answer.reason = exc.reason
        raise
    finally:
        if call.trace is not None:
            call.trace.end(answer.status, answer.reason, complete=answer.ended)


def _refuse_images(runtime: Runtime, order: Order) -> None:
    """Raise NotSupportedError where the model is known not to see. One that says nothing decides itself."""
    target = runtime.engines.find(order.body.get("model"), ENDPOINT.capability)
    if target.capabilities and "vision" not in target.capabilities:
        raise NotSupportedError(NO_IMAGES, param="files")


def _begun(order: Order) -> None:
    """Tell whoever waits that nothing is refused."""
    try:
        if not order.verdict.done():
            order.verdict.set_result(None)
    except InvalidStateError:  # they wait no longer
        return


def _refused(order: Order, error: GatehouseError) -> bool:
    """Tell whoever waits, and whether somebody did: they undo what was written down."""
    try:
        order.verdict.set_exception(error)
    except InvalidStateError:
        return False
    return True


def _cancelled(live: Live) -> dict[str, Any]:
    if live.stopped:
        return {"status": "stopped"}
    if live.full:
        return {"status": "cut", "reason": "too_long", "error": TOO_LONG}
    return {"status": "cut", "reason": DIED, "error": WORDS}


def _broken(live: Live, reason: str, words: str) -> dict[str, Any]:
    """Cut off where something came of it, else failed."""
    return {"status": "cut" if live.n_chars else "failed", "reason": reason, "error": words[:500]}


async def _write_end(live: Live, order: Order, fields: dict[str, Any], end: End) -> None:
    """Again and again for a while: a busy database must not leave an answer under way for ever."""
    text = live.text()
    whole = {
        **fields,
        "content": text.content,
        "reasoning": text.reasoning,
        "model": live.model or str(order.body.get("model") or ""),
        "finish_reason": live.finish_reason,
        "prompt_tokens": live.prompt_tokens,
        "completion_tokens": live.completion_tokens,
        "first_token_ms": live.first_token_ms,
        "duration_ms": live.duration_ms,
    }
    for left in reversed(range(TRIES)):
        try:
            await end(whole)
            return
        except Exception as exc:
            if not left:
                log.exception("an answer could not be kept")
                return
            log.warning("an answer is kept in a moment: %s", type(exc).__name__)
            await asyncio.sleep(PAUSE_S)
