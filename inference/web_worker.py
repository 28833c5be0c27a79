"""The gunicorn worker: uvicorn with the loop, parser and limits that the lane was measured with."""

import asyncio
from typing import Any, ClassVar, cast

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn_worker import UvicornWorker

from core.call import Scope
from core.envelopes import envelope
from core.errors import TooLargeError
from inference.lane import ON_DISCONNECT

MAX_HEAD_BYTES = 32 * 1024
TOO_LARGE = "The headers of the request are too large."
HEAD_TIMEOUT_S = 30.0


class _HeadTooLargeError(Exception):
    """Raised into the parser, which then gives the connection up."""


class BoundedProtocol(HttpToolsProtocol):
    """Bounds what uvicorn does not: the size of a request's head, and the time of a first one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._cycles: list[RequestResponseCycle] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_timer()

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        self._start_timer()
        super().on_message_begin()

    def _start_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_timer()
        cast("Scope", self.scope)[ON_DISCONNECT] = None  # says that we call whoever is put there
        super().on_headers_complete()
        if self._cycles and self._cycles[0].response_complete:
            self._cycles.clear()
        self._cycles.append(self.cycle)  # more than one where requests are pipelined

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        unfinished = [cycle for cycle in self._cycles if not cycle.response_complete]
        super().connection_lost(exc)
        for cycle in unfinished:
            cycle.disconnected = True
            cycle.message_event.set()
            on_disconnect = cast("Scope", cycle.scope).get(ON_DISCONNECT)
            if on_disconnect is not None:
                on_disconnect()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _count(self, n_bytes: int) -> None:
        self._head_bytes += n_bytes
        if self._head_bytes > MAX_HEAD_BYTES:
            raise _HeadTooLargeError

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


class Worker(UvicornWorker):  # type: ignore[misc]  # the package has no types
    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "uvloop",
        "http": BoundedProtocol,
        "ws": "none",
        "lifespan": "on",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,  # accounts.limits believes trusted proxies, and nobody else
        "timeout_keep_alive": 75,
        "limit_concurrency": 4096,
        "timeout_graceful_shutdown": 30,
    }
