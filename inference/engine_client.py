"""The client to one engine: head, body, close. HTTP/1.1 on asyncio.Protocol and httptools.

Small on purpose: engines are ours or named by the operator, so there are no redirects, cookies,
proxies or compression. Measured against aiohttp in docs/decisions/004.
"""

import asyncio
import ssl
from collections import deque
from typing import cast
from urllib.parse import urlsplit

import httptools

from core.deadline import Deadline
from core.errors import EngineFailedError, EngineTimeoutError, GatehouseError

CONNECT_S, FIRST_BYTE_S, BETWEEN_BYTES_S = 5.0, 600.0, 120.0
MAX_HEAD_BYTES = 64 * 1024
MAX_PLAIN_BYTES = 64 * 1024 * 1024
HIGH_WATER = 256 * 1024
MAX_IDLE = 256


class NotReachableError(EngineFailedError):
    """The engine cannot have begun: no connection, or one that broke before all was sent."""

    message = "The engine could not be reached."


class NoConnectionInTimeError(EngineTimeoutError):
    """Nothing was sent either, but it took long to find that out."""

    message = "The engine did not take the connection in time."


class _Connection(asyncio.Protocol):
    """One connection. Callbacks of the parser fill it; one response at a time empties it."""

    def __init__(self, others: "set[_Connection]") -> None:
        self.loop = asyncio.get_running_loop()
        self.others = others
        self.sent_at = 0.0  # while a request is on it, by the loop's clock
        self.transport: asyncio.Transport | None = None
        self.parser: httptools.HttpResponseParser | None = None
        self.waiter: asyncio.Future[None] | None = None
        self.chunks: deque[bytes] = deque()
        self.buffered = 0
        self.status = 0
        self.content_type = b""
        self.retry_after = b""
        self.head_bytes = 0
        self.has_head = False
        self.complete = False
        self.keep = False
        self.paused = False
        self.is_sending = False
        self.error: GatehouseError | None = None
        self.deadline = Deadline(self.loop, self._late)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass of it
        self.others.add(self)

    def send(self, payload: bytes) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.chunks.clear()
        self.buffered = self.status = self.head_bytes = 0
        self.has_head = self.complete = self.keep = False
        self.content_type = self.retry_after = b""
        assert self.transport is not None  # noqa: S101
        self.sent_at = self.loop.time()
        self.transport.write(payload)

    def pause_writing(self) -> None:
        """A part of a large request waits for the engine to take it."""
        self.is_sending = True

    def resume_writing(self) -> None:
        self.is_sending = False

    def data_received(self, data: bytes) -> None:
        if self.parser is None or self.complete:
            self._fail(EngineFailedError("The engine answered out of turn."))
            return
        if not self.has_head:
            self.head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail(EngineFailedError("The engine's answer could not be read."))
            return
        if not self.has_head and self.head_bytes > MAX_HEAD_BYTES:
            self._fail(EngineFailedError("The engine's answer could not be read."))
        self._wake()

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if lower == b"content-type":
            self.content_type = value
        elif lower == b"retry-after":
            self.retry_after = value

    def on_headers_complete(self) -> None:
        assert self.parser is not None  # noqa: S101
        self.status = self.parser.get_status_code()
        self.has_head = True

    def on_body(self, body: bytes) -> None:
        self.chunks.append(body)
        self.buffered += len(body)
        if self.buffered > HIGH_WATER and not self.paused and self.transport is not None:
            self.paused = True
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        assert self.parser is not None  # noqa: S101
        self.complete = True
        self.keep = self.parser.should_keep_alive()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.others.discard(self)
        self.deadline.close()
        if not self.complete and self.error is None:
            broken = NotReachableError if self.is_sending else EngineFailedError
            self.error = broken("The engine closed the connection.")
        self._wake()

    def _fail(self, error: GatehouseError) -> None:
        self.error = self.error or error
        if self.transport is not None:
            self.transport.abort()
        self._wake()

    def _wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def wait(self, timeout_s: float) -> None:
        """Until something arrives or is lost. Raises EngineTimeoutError after `timeout_s`."""
        waiter = self.waiter = self.loop.create_future()
        self.deadline.set(timeout_s)
        try:
            await waiter
        finally:
            self.deadline.clear()
            self.waiter = None

    def _late(self) -> None:
        self._fail(EngineTimeoutError())

    def end(self) -> None:
        """Give up the request: an engine whose connection closes stops working on it."""
        self._fail(EngineTimeoutError("The request was ended: it ran longer than is allowed here."))

    def take(self) -> bytes:
        body = self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)
        self.chunks.clear()
        self.buffered = 0
        if self.paused and self.transport is not None:
            self.paused = False
            self.transport.resume_reading()
        return body


class EngineResponse:
    """One answer. `close` is due however it ended: an unfinished one aborts the engine's work."""

    __slots__ = ("_client", "_connection", "content_type", "retry_after", "status")

    def __init__(self, client: "EngineClient", connection: _Connection) -> None:
        self._client = client
        self._connection = connection
        self.status = connection.status
        self.content_type = connection.content_type
        self.retry_after = connection.retry_after

    async def chunk(self) -> bytes:
        """What has arrived since the last call, at least a byte; empty at the end of the answer."""
        connection = self._connection
        while not connection.chunks:
            if connection.complete:
                return b""
            if connection.error is not None:
                raise connection.error
            await connection.wait(BETWEEN_BYTES_S)
        return connection.take()

    async def read(self) -> bytes:
        """The whole body of a plain answer. Raises EngineFailedError past 64 MiB."""
        first = await self.chunk()
        if self._connection.complete and not self._connection.chunks:
            return first
        parts, size = [first], len(first)
        while piece := await self.chunk():
            parts.append(piece)
            size += len(piece)
            if size > MAX_PLAIN_BYTES:
                raise EngineFailedError("The engine's answer is too large.")
        return b"".join(parts)

    def close(self) -> None:
        self._client.give_back(self._connection)


class EngineClient:
    """Pooled connections to one address: `unix:/path` or `http(s)://host:port[/prefix]`."""

    def __init__(self, address: str, *, key: str = "") -> None:
        self.address = address
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._unix = address.removeprefix("unix:") if address.startswith("unix:") else None
        parts = urlsplit(address if self._unix is None else "http://engine")
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or "engine"
        self._port = parts.port or (443 if self._secure else 80)
        self._prefix = parts.path.rstrip("/").encode()
        head = f"host: {parts.netloc}\r\naccept: */*\r\naccept-encoding: identity\r\n"
        if key:
            head += f"authorization: Bearer {key}\r\n"
        self._head = head.encode("latin-1")

    async def request(
        self, method: bytes, path: bytes, body: bytes = b"", more: bytes = b""
    ) -> EngineResponse:
        """Send one request and wait for the head of its answer. `more` are whole header lines.

        Raises NotReachableError and NoConnectionInTimeError where the engine cannot have begun,
        else EngineFailedError, EngineTimeoutError. A connection that the engine closed while it was
        idle is replaced; an engine that then is gone may have been working on the request.
        """
        was_sent = False
        payload = (
            b"%b %b%b HTTP/1.1\r\n%b%bcontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (
                method,
                self._prefix,
                path,
                self._head,
                more,
                len(body),
                body,
            )
        )
        while self._idle:
            connection = self._idle.pop()
            if connection.transport is None or connection.transport.is_closing():
                continue
            try:
                return await self._exchange(connection, payload)
            except EngineFailedError:
                if connection.head_bytes or connection.transport is not None:
                    raise
                was_sent = True
        try:
            return await self._exchange(await self._connect(), payload)
        except NotReachableError as exc:
            if was_sent:
                raise EngineFailedError(exc.message) from exc
            raise

    async def _exchange(self, connection: _Connection, payload: bytes) -> EngineResponse:
        connection.send(payload)
        try:
            while not connection.has_head:
                if connection.error is not None:
                    raise connection.error
                await connection.wait(FIRST_BYTE_S)
        except BaseException:
            if connection.transport is not None:
                connection.transport.abort()
            raise
        return EngineResponse(self, connection)

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()

        def make() -> _Connection:
            return _Connection(self._open)

        try:
            async with asyncio.timeout(CONNECT_S):
                if self._unix is not None:
                    _, made = await loop.create_unix_connection(make, self._unix)
                else:
                    context = ssl.create_default_context() if self._secure else None
                    _, made = await loop.create_connection(
                        make, self._host, self._port, ssl=context
                    )
        except TimeoutError as exc:
            raise NoConnectionInTimeError from exc
        except OSError as exc:
            raise NotReachableError from exc
        return made

    def give_back(self, connection: _Connection) -> None:
        """Keep a connection whose answer was read to its end; abort any other."""
        transport = connection.transport
        connection.sent_at = 0.0
        if transport is None:
            return
        if connection.complete and connection.keep and len(self._idle) < MAX_IDLE:
            if connection.paused:
                connection.take()
            self._idle.append(connection)
        else:
            transport.abort()

    def abort_longest(self, limit_s: float) -> float | None:
        """End the request that has run longest, if longer than `limit_s`; the seconds that it ran."""
        busy = [each for each in self._open if each.sent_at and not each.complete]
        if not busy:
            return None
        first = min(busy, key=lambda each: each.sent_at)
        ran_s = first.loop.time() - first.sent_at
        if ran_s <= limit_s:
            return None
        first.end()
        return ran_s

    def close(self) -> None:
        for connection in self._idle:
            if connection.transport is not None:
                connection.transport.close()
        self._idle.clear()
