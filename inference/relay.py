"""A stream on its way from the engine to the caller, edited event by event.

What has arrived is edited and written in the callback that read it. Waking the request's task for every
piece, down the whole chain of what it awaits, took a third of a chunk's time (docs/performance.md). The task
comes in where the stream ends, breaks, reaches its limit, or the caller is slow.
"""

from core.errors import EngineFailedError
from core.response_headers import Headers
from inference.families.base import StreamEditor
from inference.forwarding import Exchange, overhead
from inference.upstream import EngineResponse
from usage.metering import Event

STREAM_HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
MAX_EVENT_BYTES = 8 * 1024 * 1024


async def stream(exchange: Exchange, response: EngineResponse, editor: StreamEditor) -> None:
    """Pass a stream on, but for its last bytes, which are left in `exchange.asked.extra["last"]`.

    Raises EngineFailedError where it breaks off; the caller says so in-band.
    """
    answer = exchange.answer
    await answer.start(200, [*STREAM_HEADERS, overhead(exchange.call)])
    relay = Relay(exchange, editor)
    while await response.pour(relay.take) and not relay.is_over:
        await answer.write(relay.held)
    if not relay.is_over:
        raise EngineFailedError("The engine ended the stream too early.")
    exchange.event.deliver()
    if exchange.was_cut:
        exchange.asked.extra["last"] = relay.held
        return
    exchange.leave()
    exchange.asked.extra["last"] = relay.held + editor.tail()


class Relay:
    """Takes the pieces of one stream. Where it takes no more, `held` is what is still to be written."""

    __slots__ = ("_editor", "_event", "_exchange", "_push", "_rest", "held", "is_over")

    def __init__(self, exchange: Exchange, editor: StreamEditor) -> None:
        self._exchange, self._editor, self._event = exchange, editor, exchange.event
        self._push = exchange.answer.push
        self._rest = b""
        self.held = b""
        self.is_over = False  # it came to its end, or to what was left of a quota

    def take(self, piece: bytes) -> bool:
        """Edit and write what has arrived; False where the task has to go on. Raises EngineFailedError."""
        editor, event = self._editor, self._event
        if not self._rest and _is_one_event(piece):  # as engines write them
            out = editor.feed(piece)
        else:
            events, self._rest = _frame(self._rest + piece if self._rest else piece)
            out = b"".join([editor.feed(each) for each in events])
        _count(event, editor)
        if editor.done or (event.reservation is not None and _is_used_up(event)):
            self.held, self.is_over = out, True
            self._exchange.was_cut = not editor.done
            return False
        if not out:
            return True
        event.deliver(out)
        if self._push(out):
            return True
        self.held = out
        return False


def _is_used_up(event: Event) -> bool:
    assert event.reservation is not None  # noqa: S101  # asked before
    return event.reservation.is_used_up(
        event.prompt_tokens, event.cached_tokens, event.completion_tokens
    )


def _count(event: Event, editor: StreamEditor) -> None:
    """The engine's counts so far; pieces streamed stand in for them where it gives none yet."""
    prompt, completion, cached = 0, 0, 0
    if (tokens := editor.tokens) is not None:
        prompt, completion, cached = tokens.prompt, tokens.completion, tokens.cached
    event.estimated = not editor.done and editor.deltas > completion
    event.tokens(prompt, editor.deltas if event.estimated else completion, cached)


def _is_one_event(data: bytes) -> bool:
    """Whether it is a line or two and a blank one: what most reads from an engine are."""
    if not data.endswith(b"\n\n"):
        return False
    lines = data.count(b"\n")
    return lines == 2 or (lines == 3 and data.startswith(b"event:"))


def _frame(data: bytes) -> tuple[list[bytes], bytes]:
    """Whole SSE events, each with its blank line, and what is left over."""
    if b"\r\n" in data:
        data = data.replace(b"\r\n", b"\n")
    if len(data) > MAX_EVENT_BYTES:
        raise EngineFailedError("The engine's answer could not be read.")
    parts = data.split(b"\n\n")
    rest = parts.pop()
    return [part + b"\n\n" for part in parts if part], rest
