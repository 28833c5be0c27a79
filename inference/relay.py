"""A stream on its way from the engine to the caller, edited event by event.

What has arrived is edited and written in the callback that read it. Waking the request's task for every
piece, down the whole chain of what it awaits, took a third of a chunk's time (docs/performance.md). The task
comes in where the stream ends, breaks, reaches its limit, or the caller is slow.
"""

from core.errors import EngineFailedError, EngineUnreadableError
from core.response_headers import Headers
from inference.families.base import StreamEditor, Tokens
from inference.forwarding import Exchange, overhead
from inference.upstream import EngineResponse

STREAM_HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
_NONE_YET = Tokens(0, 0)
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
        n_lines = piece.count(b"\n") if not self._rest and piece.endswith(b"\n\n") else 0
        if n_lines == 2 or (n_lines == 3 and piece.startswith(b"event:")):
            out = editor.feed(piece)  # one event, as engines write them
        else:
            events, self._rest = _frame(self._rest + piece if self._rest else piece)
            out = b"".join([editor.feed(each) for each in events])
        prompt, completion, cached = editor.tokens or _NONE_YET
        # Pieces streamed stand in for the engine's counts where it gives none yet.
        event.estimated = not editor.done and editor.deltas > completion
        if event.estimated:
            completion = editor.deltas
        reservation = event.reservation
        self.is_over = editor.done or (
            reservation is not None and reservation.is_used_up(prompt, cached, completion)
        )
        event.tokens(prompt, completion, cached, b"" if self.is_over else out)
        if self.is_over:
            self._exchange.was_cut = not editor.done
        elif not out or self._push(out):
            return True
        self.held = out
        return False


def _frame(data: bytes) -> tuple[list[bytes], bytes]:
    """Whole SSE events, each with its blank line, and what is left over."""
    if b"\r\n" in data:
        data = data.replace(b"\r\n", b"\n")
    if len(data) > MAX_EVENT_BYTES:
        raise EngineUnreadableError
    parts = data.split(b"\n\n")
    rest = parts.pop()
    return [part + b"\n\n" for part in parts if part], rest
