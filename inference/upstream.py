"""Our own client to engines: HTTP/1.1 over TCP, TLS or a Unix socket, with a bounded pool per address.

Engines are ours or named by the operator, so there are no redirects, cookies, proxies or compression.
Why it is not aiohttp: docs/decisions/004. A request takes the connection that was idle last, or a new
one, or stands in line where MAX_OPEN are open; its response gives it back. The states of a connection
are drawn in `inference.upstream_connection`.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from functools import cache
from urllib.parse import urlsplit

from core.errors import EngineFailedError, EngineTimeoutError
from inference.upstream_connection import (
    SLICE,
    Connection,
    NoConnectionInTimeError,
    NotReachableError,
    Sink,
)

__all__ = ["EngineClient", "EngineResponse", "NoConnectionInTimeError", "NotReachableError"]

CONNECT_S, FIRST_BYTE_S = 5.0, 600.0
BACKLOG_FULL_S, MOST_BACKLOG_FULL_S = 0.005, 0.25
IDLE_S = 4.0  # uvicorn, and so vLLM, closes after 5
MAX_OPEN, MAX_IDLE = 4096, 256  # connections to one address
MAX_PLAIN_BYTES = 64 * 1024 * 1024


class EngineResponse:
    """One answer. `close` is due however it ended: an unfinished one aborts the engine's work."""

    __slots__ = ("_connection", "content_type", "retry_after", "status")

    def __init__(self, connection: Connection) -> None:
        self._connection: Connection | None = connection
        self.status = connection.status
        self.content_type = connection.content_type
        self.retry_after = connection.retry_after

    async def chunk(self) -> bytes:
        """What has arrived since the last call, at least a byte; empty at the end of the answer."""
        found: list[bytes] = []

        def keep(piece: bytes) -> bool:
            found.append(piece)
            return False

        return found[0] if await self.pour(keep) else b""

    async def pour(self, sink: Sink) -> bool:
        """Give `sink` what arrives, as it arrives, until it says False: then True. False at the end.

        Raises what broke the answer, and what `sink` raises.
        """
        connection = self._connection
        if connection is None:
            raise RuntimeError("read after close")  # the connection may be another's by now
        while True:
            if connection.chunks:
                if not sink(connection.take()):
                    return True
            elif connection.complete:
                return False
            elif connection.error is not None:
                raise connection.error
            elif await connection.poured(sink):
                return True

    def at_hand(self) -> bytes:
        """All of a plain answer that came with its head, as most do; else empty, and `read` has to wait."""
        connection = self._connection
        if connection is not None and connection.complete and connection.chunks:
            return connection.take()
        return b""

    async def read(self) -> bytes:
        """The whole body of a plain answer. Raises EngineFailedError past 64 MiB."""
        if whole := self.at_hand():
            return whole
        first = await self.chunk()
        parts, size = [first], len(first)
        while piece := await self.chunk():
            parts.append(piece)
            size += len(piece)
            if size > MAX_PLAIN_BYTES:
                raise EngineFailedError("The engine's answer is too large.")
        return b"".join(parts)

    def close(self) -> None:
        """Once is enough, twice is harmless: the second time the connection may be another's."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.pool.give_back(connection)


@cache
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class EngineClient:
    """Pooled connections to one address: `unix:/path` or `http(s)://host:port[/prefix]`.

    `tls` says whose certificates are believed, instead of the system's own list.
    """

    def __init__(self, address: str, *, key: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.address = address
        self._idle: list[Connection] = []  # the one used last is the last
        self._open: set[Connection] = set()
        self._connecting = 0
        self._line: deque[asyncio.Future[None]] = deque()
        self._sweep: asyncio.TimerHandle | None = None
        self._unix = address.removeprefix("unix:") if address.startswith("unix:") else None
        parts = urlsplit(address if self._unix is None else "http://engine")
        self._tls = (tls or _tls()) if parts.scheme == "https" else None
        self._host = parts.hostname or "engine"
        self._port = parts.port or (443 if self._tls else 80)
        self._prefix = parts.path.rstrip("/").encode()
        at = parts.netloc.rpartition("@")[2]
        head = f"host: {at}\r\naccept: */*\r\naccept-encoding: identity\r\n"
        if key:
            head += f"authorization: Bearer {key}\r\n"
        self._head = head.encode("latin-1")

    async def request(
        self, method: bytes, path: bytes, body: bytes = b"", more: bytes = b""
    ) -> EngineResponse:
        """Send one request and wait for the head of its answer. `more` are whole header lines.

        Raises NotReachableError and NoConnectionInTimeError where the engine cannot have begun,
        else EngineFailedError, EngineTimeoutError. A connection that the engine closed while it was
        idle is replaced once; an engine that then is gone may have been working on the request.
        """
        payload = (  # of a large body the first slice
            b"%b %b%b HTTP/1.1\r\n%b%bcontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (
                method,
                self._prefix,
                path,
                self._head,
                more,
                len(body),
                body[:SLICE],
            )
        )
        only_head = method == b"HEAD"
        if self._idle and not self._line and self._idle[-1].keep:
            connection = self._idle.pop()
        else:
            connection = await self._another()
        try:
            return await self._exchange(connection, payload, body, only_head=only_head)
        except EngineFailedError as exc:
            if not connection.is_stale:
                raise
            never_began = isinstance(exc, NotReachableError)
        try:  # in its predecessor's place, so nobody is asked for room
            return await self._exchange(await self._connect(), payload, body, only_head=only_head)
        except NotReachableError as exc:
            raise exc if never_began else EngineFailedError(exc.message) from exc
        except NoConnectionInTimeError as exc:
            raise exc if never_began else EngineTimeoutError(exc.message) from exc

    async def _exchange(
        self, connection: Connection, payload: bytes, body: bytes, *, only_head: bool
    ) -> EngineResponse:
        try:
            connection.begin(payload, only_head=only_head)
            if len(body) > SLICE:
                await connection.send_rest(body)
            if not connection.has_head:
                connection.deadline.set(FIRST_BYTE_S)
                while not connection.has_head:
                    if connection.error is not None:
                        raise connection.error
                    await connection.arrival()
                connection.deadline.clear()
        except BaseException:
            if connection.transport is not None:
                connection.transport.abort()
            raise
        return EngineResponse(connection)

    def _spare(self) -> Connection | None:
        """An idle connection, the one used last."""
        while self._idle:
            connection = self._idle.pop()
            if connection.keep:  # the engine may just have closed it
                return connection
        return None

    async def _another(self) -> Connection:
        """A new connection; where there are too many, whichever is free first."""
        if not self._line and (spare := self._spare()) is not None:
            return spare
        is_full = bool(self._line) or self._is_full()
        while is_full:
            await self._stand_in_line()
            if (spare := self._spare()) is not None:
                return spare
            is_full = self._is_full()
        return await self._connect()

    def _is_full(self) -> bool:
        return len(self._open) + self._connecting >= MAX_OPEN

    async def _stand_in_line(self) -> None:
        """Raises NoConnectionInTimeError after as long as connecting may take."""
        waiter = asyncio.get_running_loop().create_future()
        self._line.append(waiter)
        try:
            async with asyncio.timeout(CONNECT_S):
                await waiter
        except BaseException as exc:
            self._line.remove(waiter)
            if not waiter.cancelled():  # it was called, and leaves all the same
                self._call_next()
            if isinstance(exc, TimeoutError):
                raise NoConnectionInTimeError from exc
            raise
        self._line.remove(waiter)

    def _call_next(self) -> None:
        if self._idle or not self._is_full():
            for waiter in self._line:
                if not waiter.done():
                    waiter.set_result(None)
                    return

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()

        def make() -> Connection:
            return Connection(self)

        self._connecting += 1
        try:
            async with asyncio.timeout(CONNECT_S):
                if self._unix is not None:
                    made = await self._connect_to_socket(make, self._unix)
                else:
                    at = (self._host, self._port)
                    _, made = await loop.create_connection(make, *at, ssl=self._tls)
        except TimeoutError as exc:
            raise NoConnectionInTimeError from exc
        except OSError as exc:
            raise NotReachableError from exc
        finally:
            self._connecting -= 1
            self._call_next()  # it failed, or is counted as open
        return made

    @staticmethod
    async def _connect_to_socket(make: Callable[[], Connection], path: str) -> Connection:
        """Where its backlog is full a Unix socket says so; over TCP the kernel waits for room by itself."""
        loop, pause_s = asyncio.get_running_loop(), BACKLOG_FULL_S
        while True:
            try:
                _, made = await loop.create_unix_connection(make, path)
            except BlockingIOError:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, MOST_BACKLOG_FULL_S)  # many may wait at once
            else:
                return made

    def opened(self, connection: Connection) -> None:
        self._open.add(connection)

    def lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._call_next()

    def give_back(self, connection: Connection) -> None:
        """Keep a connection whose answer was whole; abort any other."""
        transport = connection.transport
        connection.sent_at = 0.0
        if transport is None:
            return
        if not connection.keep or len(self._idle) >= MAX_IDLE:
            transport.abort()
            return
        if connection.chunks:
            connection.take()
        connection.is_used, connection.was_looked_at = True, False
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = connection.loop.call_later(IDLE_S / 2, self._close_idle)
        if self._line:
            self._call_next()

    def _close_idle(self) -> None:
        """Those that were idle at the last look as well; one look for all spares a timer for each."""
        self._sweep = None
        kept = []
        for each in self._idle:
            if not each.was_looked_at:
                each.was_looked_at = True
                kept.append(each)
            elif each.transport is not None:
                each.transport.close()
        self._idle = kept
        if kept:
            self._sweep = kept[0].loop.call_later(IDLE_S / 2, self._close_idle)

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
        """Close what is idle. Answers that are under way go on to their end."""
        for connection in self._idle:
            if connection.transport is not None:
                connection.transport.close()
        self._idle.clear()
