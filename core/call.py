"""One request as the inference path sees it, and the answer it writes to.

Both doors make these: the lane from an ASGI scope, the Django adapter from an HttpRequest.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol
from urllib.parse import parse_qs

import uuid_utils

from core.envelopes import Family, error_body, error_headers, stream_error
from core.errors import GatehouseError, InvalidRequestError, TooLargeError, UnavailableError
from core.principal import Principal
from core.response_headers import SECURITY_HEADERS, Headers
from core.trace import Content, Trace

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CONNECTION = "gatehouse.connection"
BODY_TIMEOUT_S = 60.0


class ClientGoneError(Exception):
    """The caller hung up before its request was read."""


class Call:
    """Method, path, headers, body reader and (once known) principal of one request."""

    __slots__ = (
        "body_bytes",
        "client",
        "connection",
        "content",
        "correlation_id",
        "engine_wait_s",
        "headers",
        "is_named_by_caller",
        "kwargs",
        "method",
        "path",
        "principal",
        "query",
        "queue_s",
        "receive",
        "started",
        "trace",
    )

    def __init__(
        self,
        *,
        method: str,
        path: str,
        query: bytes,
        headers: dict[bytes, bytes],
        receive: Receive,
        client: str,
        connection: "Connection | None" = None,
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.receive = receive
        self.client = client
        self.connection = connection
        self.kwargs: dict[str, str] = {}
        self.principal: Principal | None = None
        self.started = time.perf_counter()
        self.engine_wait_s = 0.0  # seconds that were not ours: in line, and the engine's
        self.queue_s = 0.0  # of these, in line for a place at the engine
        self.trace: Trace | None = None
        self.body_bytes = 0
        self.content: Content | None = None  # of the bodies, where they are kept
        given = headers.get(b"x-correlation-id")
        self.correlation_id = correlation_id_for(given)
        self.is_named_by_caller = self.correlation_id is given

    @property
    def endpoint(self) -> str:
        """The path, with a model's name in it left out: callers may invent some, and books are kept by it."""
        model = self.kwargs.get("model")
        if not model:
            return self.path
        return self.path.replace(f"/engines/{model}/", "/engines/:model/", 1)

    async def read_body(self, limit: int) -> bytes:
        """The whole body. Raises TooLargeError past `limit` bytes, ClientGoneError on hang-up."""
        declared = self.headers.get(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > limit:
            raise TooLargeError(f"The request body is larger than {limit} bytes.")
        body = self.connection.body() if self.connection is not None else None
        if body is None:
            body = await self._receive_body(limit)
        self.body_bytes = len(body)
        if self.body_bytes > limit:
            raise TooLargeError(f"The request body is larger than {limit} bytes.")
        return body

    async def _receive_body(self, limit: int) -> bytes:
        parts: list[bytes] = []
        size, has_more = 0, True
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                while has_more:
                    message = await self.receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGoneError
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > limit:
                        raise TooLargeError(f"The request body is larger than {limit} bytes.")
                    has_more = message.get("more_body", False)
        except TimeoutError as exc:
            raise UnavailableError("The request body did not arrive in time.") from exc
        return b"".join(parts)

    def query_value(self, name: str) -> str | None:
        """The single value of a query parameter; InvalidRequestError where it comes twice."""
        if not self.query:
            return None
        try:
            values = parse_qs(self.query.decode("ascii"), max_num_fields=64).get(name)
        except ValueError as exc:
            raise InvalidRequestError("The query string is not valid.") from exc
        if values is None:
            return None
        if len(set(values)) > 1:
            raise InvalidRequestError(f"{name} is given twice.", param=name)
        return values[0]


class BoundedBody:
    """A `receive` that lets through `limit` bytes of a body within its time, then raises.

    Raises TooLargeError or UnavailableError; once the body is whole it only passes on.
    """

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._left = limit
        self._whole = False
        self._deadline = asyncio.get_running_loop().time() + BODY_TIMEOUT_S

    async def __call__(self) -> Message:
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError as exc:
            raise UnavailableError("The request body did not arrive in time.") from exc
        self._left -= len(message.get("body", b""))
        self._whole = not message.get("more_body")
        if self._left < 0:
            raise TooLargeError("The request body is too large.")
        return message


def correlation_id_for(given: bytes | None) -> bytes:
    """The caller's id where it is short and printable, else a new one (surface, section 0)."""
    if given is not None and 0 < len(given) <= 128 and given.isascii():
        text = given.decode("ascii")
        if text.isprintable():
            return given
    return str(uuid_utils.uuid7()).encode()


class Connection(Protocol):
    """What our own server offers an application beyond ASGI, under CONNECTION in the scope."""

    loop: asyncio.AbstractEventLoop
    gone: bool  # the caller hung up; whoever is in `task` was cancelled for it
    task: asyncio.Task[Any] | None

    def body(self) -> bytes | None:
        """All of the request's body, once; None where ASGI has to wait for it."""

    def reply(self, status: int, headers: Headers, body: bytes) -> bool:
        """Write a whole answer at once, with the headers of every answer; False where ASGI has to."""

    def push(self, body: bytes) -> bool:
        """Write a piece of a stream that began; False where ASGI has to, such as for a slow reader."""


def _not_at_once(_body: bytes) -> bool:
    return False


class Answer:
    """Writes one response, with the headers that every response has; knows whether it began.

    Through ASGI's `send`, and whole answers past it where `connection` is our own server's.
    """

    __slots__ = (
        "_connection",
        "_headers",
        "_send",
        "ended",
        "push",
        "reason",
        "started",
        "status",
    )

    def __init__(self, send: Send, headers: Headers, connection: Connection | None = None) -> None:
        self._send = send
        self._headers = headers
        self._connection = connection
        # Writes a piece of a stream at once; False, and nothing done, where `write` has to.
        self.push = connection.push if connection is not None else _not_at_once
        self.started = False
        self.ended = False
        self.status = 0
        self.reason = ""  # of the error that it said

    def add_headers(self, headers: Headers) -> None:
        """Headers that the answer has whatever becomes of it."""
        self._headers = [*self._headers, *headers]

    async def start(self, status: int, headers: Headers) -> None:
        self.started = True
        self.status = status
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": SECURITY_HEADERS + self._headers + headers,
            }
        )

    async def write(self, body: bytes) -> None:
        if not self.push(body):
            await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self, body: bytes = b"") -> None:
        self.ended = True
        await self._send({"type": "http.response.body", "body": body})

    async def json(self, status: int, body: bytes, headers: Headers | None = None) -> None:
        own = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            *(headers or ()),
        ]
        connection = self._connection
        if connection is not None and connection.reply(status, self._headers + own, body):
            self.started = self.ended = True
            self.status = status
            return
        await self.start(status, own)
        await self.end(body)

    async def fail(self, error: GatehouseError, family: Family, *, opaque: bool = False) -> None:
        """Say `error`: as a body before the first byte, as the last event after it."""
        if self.ended:
            return
        self.reason = error.reason
        if self.started:
            await self.end(stream_error(error, family))
            return
        body = error_body(error, family, opaque=opaque)
        await self.json(error.http_status, body, error_headers(error))
