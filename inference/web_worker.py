"""The gunicorn worker: uvicorn with the loop, parser and limits that the lane was measured with."""

import asyncio
import re
from functools import partial
from typing import Any, ClassVar, cast

import orjson
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn_worker import UvicornWorker

from core.call import CONNECTION, Scope
from core.deadline import Deadline
from core.envelopes import envelope
from core.errors import TooLargeError
from core.response_headers import SECURITY_BLOCK, Headers

MAX_HEAD_BYTES = 32 * 1024
TOO_LARGE = "The headers of the request are too large."
HEAD_TIMEOUT_S = 30.0
STALL_TIMEOUT_S = 60.0
MAX_PIPELINED = 8
SOCKET_STALL_S, SOCKET_PING_S, MAX_SOCKET_MESSAGE = 10.0, 30.0, 16 * 1024


_UNUSUAL = re.compile(rb"^[^/]|[%?#]")  # of a request's target: uvicorn takes it apart


class _HeadTooLargeError(Exception):
    """Raised into the parser, which then gives the connection up."""


class Exchange:
    """One request and its answer on a connection of ours (`core.call.Connection`)."""

    __slots__ = ("_protocol", "cycle", "gone", "loop", "task")

    def __init__(self, protocol: "BoundedProtocol", cycle: RequestResponseCycle) -> None:
        self._protocol = protocol
        self.cycle = cycle
        self.loop = protocol.loop
        self.gone = False
        self.task: asyncio.Task[Any] | None = None

    def hung_up(self) -> None:
        self.gone = self.cycle.disconnected = True
        self.cycle.message_event.set()
        if self.task is not None:
            self.task.cancel()

    def body(self) -> bytes | None:
        """All of the request's body, once; None where `receive` has to wait for it, or to say more."""
        cycle = self.cycle
        if cycle.more_body or cycle.disconnected or cycle.response_complete:
            return None
        cycle.message_event.clear()
        cycle.waiting_for_100_continue = False  # nor does the caller (RFC 9110, 10.1.1)
        if cycle.flow.read_paused:
            cycle.flow.resume_reading()
        found, cycle.body = bytes(cycle.body), bytearray()
        return found

    def reply(self, status: int, headers: Headers, body: bytes) -> bool:
        """A whole answer in one write, where uvicorn makes two; False where `send` has to do it.

        `headers` are ours or checked before, and have the body's length: nothing here looks again.
        """
        cycle = self.cycle
        if cycle.response_started or cycle.flow.write_paused or cycle.scope["method"] == "HEAD":
            return False
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if cycle.disconnected:
            return True
        parts = [STATUS_LINE[status], self._protocol.default_block(), SECURITY_BLOCK]
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        if not cycle.keep_alive:
            parts.append(b"connection: close\r\n")
        parts += (b"\r\n", body)
        cycle.transport.write(b"".join(parts))
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
        return True

    def push(self, body: bytes) -> bool:
        """A piece of a stream, as `send` would write it; False where `send` has to do it."""
        cycle = self.cycle
        if not cycle.chunked_encoding or cycle.response_complete or cycle.flow.write_paused:
            return False
        if not cycle.disconnected and body:
            cycle.transport.write(b"%x\r\n%b\r\n" % (len(body), body))
        return True


class Cycle(RequestResponseCycle):
    """uvicorn's own, made with less: what most requests never change is the class's."""

    access_log = disconnected = response_started = response_complete = False
    more_body, chunked_encoding, expected_content_length = True, None, 0

    def __init__(self, protocol: "BoundedProtocol", scope: Scope, *, keep_alive: bool) -> None:
        self.scope = cast("Any", scope)
        self.transport, self.flow = protocol.transport, protocol.flow
        self.logger = protocol.logger
        self.default_headers = protocol.server_state.default_headers
        self.message_event = asyncio.Event()
        self.on_response = protocol.on_response_complete
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = protocol.expect_100_continue
        self.body = bytearray()
        self.task: asyncio.Task[None] | None = None
        self._tasks = protocol.tasks

    async def run_asgi(self, app: Any) -> None:
        """uvicorn's own where something went wrong; out of its list by ourselves, as a callback that a
        task makes when it is done is dearer.
        """
        try:
            await app(self.scope, self.receive, self.send)
        except BaseException as exc:  # noqa: BLE001  # uvicorn says so, and hangs up
            await super().run_asgi(partial(_raised, exc))
        else:
            if not self.response_complete:
                await super().run_asgi(_came_back)
        finally:
            self.on_response = _nothing
            if self.task is not None:
                self._tasks.discard(self.task)
            self.task = None


async def _came_back(*_asgi: object) -> None:
    """An application that left its answer unfinished."""


async def _raised(exc: BaseException, *_asgi: object) -> None:
    raise exc


def _nothing() -> None:
    pass


class BoundedProtocol(HttpToolsProtocol):
    """Bounds what uvicorn does not: the size of a request's head, and the time of a first one.

    A caller that takes nothing of its answer for a minute is hung up on: it holds a place at the
    engine, and others may wait for that.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._head_due = Deadline(self.loop, self._head_is_late)
        self._stalled = Deadline(self.loop, self._takes_nothing)
        self._exchanges: list[Exchange] = []
        self._most = 0 if self.root_path or self.access_log else self.limit_concurrency or 1 << 30
        self._default_headers: list[tuple[bytes, bytes]] = []
        self._default_block = b""
        # Of the request before, as most callers ask for the same again.
        self._usual_url, self._usual_path = b"/", "/"

    def default_block(self) -> bytes:
        """uvicorn's headers of every answer (the date); it makes a new list once a second."""
        headers = self.server_state.default_headers
        if headers is not self._default_headers:
            self._default_headers = headers
            self._default_block = b"".join(b"%b: %b\r\n" % pair for pair in headers)
        return self._default_block

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_due.set(HEAD_TIMEOUT_S)

    def _head_is_late(self) -> None:
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled.set(STALL_TIMEOUT_S)

    def resume_writing(self) -> None:
        self._stalled.clear()
        super().resume_writing()

    def _takes_nothing(self) -> None:
        self.transport.abort()

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        self._head_due.set(HEAD_TIMEOUT_S)
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """As uvicorn's, in one call."""
        self._head_bytes += len(url)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise _HeadTooLargeError
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """As uvicorn's, without a call of it for each header."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise _HeadTooLargeError
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._head_due.clear()
        before = self.cycle
        if not self._begun_as_usual():
            super().on_headers_complete()
        if self.cycle is before:  # an upgrade, which we do not do here
            return
        exchanges = self._exchanges
        if exchanges and exchanges[0].cycle.response_complete:
            exchanges[:] = [each for each in exchanges if not each.cycle.response_complete]
        exchange = Exchange(self, self.cycle)
        exchanges.append(exchange)  # more than one where requests are pipelined
        if self.pipeline and len(self.pipeline) <= MAX_PIPELINED:
            self.flow.resume_reading()  # who does not read does not notice a hang-up
        cast("Scope", self.scope)[CONNECTION] = exchange

    def _begun_as_usual(self) -> bool:
        """What uvicorn does for a head, for the usual one; False, and nothing done, for any other."""
        parser, url, before = self.parser, self.url, self.cycle
        if url != self._usual_url:
            if _UNUSUAL.search(url) is not None:
                return False
            self._usual_url, self._usual_path = url, url.decode("ascii")
        if (
            (before is not None and not before.response_complete)
            or parser.get_http_version() != "1.1"
            or parser.should_upgrade()
            or len(self.connections) >= self._most
            or len(self.tasks) >= self._most
        ):
            return False
        scope = cast("Scope", self.scope)
        scope["method"] = parser.get_method().decode("ascii")
        scope["path"] = self._usual_path
        scope["raw_path"], scope["query_string"] = url, b""
        self.cycle = cycle = Cycle(self, scope, keep_alive=parser.should_keep_alive())
        cycle.task = self.loop.create_task(cycle.run_asgi(self.app))
        self.tasks.add(cycle.task)
        return True

    def on_response_complete(self) -> None:
        """As uvicorn's, but that waiting for the next head is a deadline: it makes a timer each time."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif not self._head_due.is_set:  # else the next one has begun already
            self._head_due.set(self.timeout_keep_alive)

    def handle_websocket_upgrade(self) -> None:
        self._head_due.end()
        self._stalled.end()
        super().handle_websocket_upgrade()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_due.end()
        self._stalled.end()
        unfinished = [each for each in self._exchanges if not each.cycle.response_complete]
        super().connection_lost(exc)
        for exchange in unfinished:
            exchange.hung_up()
        # rings that would stay until garbage is collected, with all that callers sent
        self._exchanges.clear()
        self.pipeline.clear()
        self.cycle = None  # type: ignore[assignment]

    def send_400_response(self, msg: str) -> None:
        if self._head_bytes <= MAX_HEAD_BYTES:
            super().send_400_response(msg)
            return
        body = orjson.dumps(envelope(TooLargeError(TOO_LARGE, status=431), "openai"))
        self.transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
        self.transport.close()


class BoundedSocket(WebSocketsSansIOProtocol):
    """A WebSocket whose other end takes nothing for a while is hung up on (R-13).

    What waits for it meanwhile is one message and the transport's own 64 KiB.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stalled = Deadline(self.loop, self._takes_nothing)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled.set(SOCKET_STALL_S)

    def resume_writing(self) -> None:
        self._stalled.clear()
        super().resume_writing()

    def _takes_nothing(self) -> None:
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stalled.end()
        super().connection_lost(exc)


class Worker(UvicornWorker):  # type: ignore[misc]  # the package has no types
    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "uvloop",
        "http": BoundedProtocol,
        "ws": BoundedSocket,
        "ws_max_size": MAX_SOCKET_MESSAGE,
        "ws_ping_interval": SOCKET_PING_S,
        "ws_ping_timeout": SOCKET_PING_S,
        "ws_per_message_deflate": False,  # small frames: all work and no gain
        "interface": "asgi3",
        "lifespan": "on",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,  # accounts.limits believes trusted proxies, and nobody else
        "timeout_keep_alive": 75,
        "limit_concurrency": 4096,
        "timeout_graceful_shutdown": 30,
    }
