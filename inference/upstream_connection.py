"""One connection to an engine: what the parser says, kept for one reader (`inference.upstream`).

HTTP/1.1 on asyncio.Protocol and httptools. What its flags say in each state:

    (none) ──connect──▶ SENDING ──────▶ WAITING ──head──▶ ANSWERING ──end──▶ COMPLETE
             5 s        is_unsent or     600 s            has_head            complete, and `keep`
                        is_full            ▲ │            120 s for a         where it may be used
                           ▲               └─┘ 1xx        byte of body        again
                           │                                                     │ close()
                           └──────────────── IDLE, at most 4 s ◀─────────────────┘

    CLOSED (`transport` is None) from any of them: a broken rule, a time-out, the engine's own end, or
    close() with nothing to keep. `error` is what whoever still waits is told.

- SENDING: a large body goes in slices, as the engine takes them. What breaks here cannot have begun.
- WAITING: a kept connection that breaks here at once, before a byte of the answer, was closed while idle:
  the request is sent once more, on a new one (decisions 004 and 017).
- ANSWERING: a reader that falls behind makes the socket pause, so memory is bounded by HIGH_WATER and one
  read. A body without a length ends with the engine's closing; one with a length must be whole.
- COMPLETE: a byte more, at once or while IDLE, is a second answer: an error, and CLOSED.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

import httptools

from core.deadline import Deadline
from core.errors import (
    EngineFailedError,
    EngineTimeoutError,
    EngineUnreadableError,
    GatehouseError,
)

BETWEEN_BYTES_S = 120.0
STALE_S = 0.5  # a round trip and then some: what breaks later was not closed while idle
MAX_HEAD_BYTES, MAX_HEADERS = 64 * 1024, 256
HIGH_WATER = 64 * 1024
PIECE_BYTES = 64  # what a piece of body costs besides its own bytes
SLICE = 64 * 1024


Sink = Callable[[bytes], bool]


class NotReachableError(EngineFailedError):
    """The engine cannot have begun: no connection, or one that broke before all was sent."""

    message = "The engine could not be reached."


class NoConnectionInTimeError(EngineTimeoutError):
    """The engine cannot have begun either, but it took long to find that out."""

    message = "The engine did not take the connection in time."


class _RuleBrokenError(Exception):
    """Raised into the parser, to stop it."""


class Pool(Protocol):
    """What a connection tells of itself."""

    def opened(self, connection: "Connection") -> None: ...

    def lost(self, connection: "Connection") -> None: ...

    def give_back(self, connection: "Connection") -> None: ...


class Connection(asyncio.Protocol):
    """One connection. Callbacks of the parser fill it; one response at a time empties it."""

    __slots__ = (
        "buffered",
        "caught",
        "chunks",
        "complete",
        "content_type",
        "deadline",
        "error",
        "framing",
        "has_head",
        "has_length",
        "is_chunked",
        "is_full",
        "is_last",
        "is_paused",
        "is_stale",
        "is_unsent",
        "is_used",
        "keep",
        "loop",
        "n_headers",
        "only_head",
        "parser",
        "pool",
        "retry_after",
        "sent_at",
        "sink",
        "status",
        "transport",
        "waiter",
        "was_looked_at",
    )

    def __init__(self, pool: Pool) -> None:
        self.loop = asyncio.get_running_loop()
        self.pool = pool
        self.transport: asyncio.Transport | None = None
        self.parser: httptools.HttpResponseParser | None = None
        self.waiter: asyncio.Future[None] | None = None
        self.sink: Sink | None = None  # takes what arrives while somebody waits for that
        self.caught: Exception | None = None  # of the sink
        self.deadline = Deadline(self.loop, self._late)
        self.chunks: deque[bytes] = deque()
        self.error: GatehouseError | None = None
        self.sent_at = 0.0  # while a request is on it, by the loop's clock
        self.is_used = self.is_stale = self.was_looked_at = False
        self.is_unsent = self.is_full = self.is_paused = False
        self.only_head = False
        self.buffered = 0
        self._reset()

    def _reset(self) -> None:
        self.status = self.n_headers = 0
        self.framing = 0  # bytes since the last one of body: head, sizes of chunks, trailers
        self.content_type = self.retry_after = b""
        self.has_head = self.complete = self.keep = self.has_length = False
        self.is_chunked = self.is_last = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass of it
        self.pool.opened(self)

    def begin(self, payload: bytes, *, only_head: bool) -> None:
        assert self.transport is not None  # noqa: S101
        if self.parser is None:
            self.parser = httptools.HttpResponseParser(self)
        self._reset()
        self.only_head = only_head
        self.sent_at = self.loop.time()
        self.transport.write(payload)

    async def send_rest(self, body: bytes) -> None:
        """The rest of a large body as fast as the engine takes it, or until it answers."""
        self.is_unsent, rest = True, memoryview(body)
        for at in range(SLICE, len(body), SLICE):
            if self.is_full:
                self.deadline.set(BETWEEN_BYTES_S)
            while self.is_full and not self.has_head and self.error is None:
                await self.arrival()
            if self.error is not None:
                raise self.error
            if self.has_head:
                return
            assert self.transport is not None  # noqa: S101
            self.transport.write(rest[at : at + SLICE])
        self.is_unsent = False

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        self._wake()

    def data_received(self, data: bytes) -> None:
        parser = self.parser
        if parser is None or self.complete:
            self._fail(EngineFailedError("The engine answered out of turn."))
            return
        self.framing += len(data)
        try:
            if not self.has_head and b"\0" in data:
                self._feed_head(parser, data)
            else:
                parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(EngineUnreadableError())
            return
        if self.framing > MAX_HEAD_BYTES:
            self._fail(EngineUnreadableError())
        elif self.has_head:
            if self.sink is None:
                self._wake()
            else:
                self._pour(self.sink)

    def _pour(self, sink: Sink) -> None:
        """Give it what has arrived, unless who waits is on the way already, or gone."""
        if self.waiter is None or self.waiter.done():
            return
        if self.is_paused:  # much at once: for who waits, after others had their turn
            self._wake()
            return
        if chunks := self.chunks:
            self.deadline.renewed = True
            if len(chunks) == 1:  # as `take`, without a call for each piece
                piece, self.buffered = chunks.popleft(), 0
            else:
                piece = self.take()
            try:
                if not sink(piece):
                    self.sink = None
            except Exception as exc:  # noqa: BLE001  # whatever it is, it is for who waits
                self.caught = exc
        if self.complete or self.sink is None or self.caught is not None:
            self._wake()

    async def poured(self, sink: Sink) -> bool:
        """Wait while what arrives goes to `sink`; whether that takes no more. Else there is something
        for the next look: the end, an error, or much at once.
        """
        self.sink = sink
        self.deadline.set(BETWEEN_BYTES_S)
        try:
            await self.arrival()
            if self.caught is not None:
                raise self.caught
            return self.sink is None
        finally:
            self.sink = self.caught = None  # it holds this frame: a ring else
            self.deadline.clear()

    def _feed_head(self, parser: httptools.HttpResponseParser, data: bytes) -> None:
        """A NUL may be in a body, not in a head; the parser lets one in the reason through."""
        n = 0
        while n < len(data) and not self.has_head:
            if not data[n]:
                raise httptools.HttpParserError
            parser.feed_data(data[n : n + 1])
            n += 1
        parser.feed_data(data[n:])

    def on_message_begin(self) -> None:
        if self.complete:  # within the bytes of the first
            raise _RuleBrokenError

    def on_header(self, name: bytes, value: bytes) -> None:
        self.n_headers += 1
        if self.has_head:  # trailers say nothing
            return
        lower = name.lower()
        if lower == b"content-length":
            self.has_length = True
        elif lower == b"content-type":
            self.content_type = self.content_type or value
        elif lower == b"transfer-encoding":
            if self.is_chunked or value.strip().lower() != b"chunked":
                raise _RuleBrokenError
            self.is_chunked = True
        elif lower == b"retry-after":
            self.retry_after = value
        elif lower == b"content-encoding" and value.strip().lower() not in {b"identity", b""}:
            raise _RuleBrokenError

    def on_headers_complete(self) -> None:
        assert self.parser is not None  # noqa: S101
        status = self.parser.get_status_code()
        if self.n_headers > MAX_HEADERS:
            raise _RuleBrokenError
        if status < 200:
            if status < 100 or status == 101 or self.has_length or self.is_chunked:
                raise _RuleBrokenError
            self.content_type = self.retry_after = b""
            return
        self.status, self.has_head = status, True
        if self.is_chunked and self.parser.get_http_version() != "1.1":
            self.is_last = True  # RFC 9112, 6.1
        if self.only_head:
            self.on_message_complete()
            self.parser = None  # it waits for a body

    def on_body(self, body: bytes) -> None:
        if self.complete:  # of an answer that has none
            raise _RuleBrokenError
        self.framing = 0
        self.chunks.append(body)
        self.buffered += len(body) + PIECE_BYTES
        if self.buffered > HIGH_WATER and not self.is_paused and self.transport is not None:
            self.is_paused = True
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        if not self.has_head or self.complete:  # a 1xx
            return
        if self.n_headers > MAX_HEADERS:
            raise _RuleBrokenError
        assert self.parser is not None  # noqa: S101
        self.complete = True
        is_through = not (self.is_last or self.is_unsent or self.is_full)
        self.keep = is_through and self.parser.should_keep_alive()

    def eof_received(self) -> None:
        self.keep = False
        if self.has_head and not self.has_length and not self.is_chunked:
            self.complete = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = self.parser = None
        self.deadline.end()
        self.keep = False
        if not self.complete and self.error is None:
            never_began = self.is_unsent or self.is_full
            broken = NotReachableError if never_began else EngineFailedError
            self.error = broken("The engine closed the connection.")
            is_soon = never_began or self.loop.time() - self.sent_at < STALE_S
            self.is_stale = self.is_used and is_soon and not self.framing and not self.has_head
        self.pool.lost(self)
        self._wake()

    def _fail(self, error: GatehouseError) -> None:
        self.error = self.error or error
        self.has_head = self.complete = self.keep = False
        if self.transport is not None:
            self.transport.abort()
        self._wake()

    def _wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def arrival(self) -> asyncio.Future[None]:
        """Done once something has arrived or is lost, or there is room for more of the request."""
        self.waiter = waiter = self.loop.create_future()
        return waiter

    def _late(self) -> None:
        never_began = self.is_unsent or self.is_full
        self._fail(NoConnectionInTimeError() if never_began else EngineTimeoutError())

    def end(self) -> None:
        """Give up the request: an engine whose connection closes stops working on it."""
        self._fail(EngineTimeoutError("The request was ended: it ran longer than is allowed here."))

    def take(self) -> bytes:
        body = self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)
        self.chunks.clear()
        self.buffered = 0
        if self.is_paused:
            self.is_paused = False
            if self.transport is not None and not self.transport.is_closing():
                self.transport.resume_reading()
        return body
