"""A server on loopback that says what it is told, and a wire without one, for exact cuts."""

import asyncio
import itertools
import socket
import struct
from contextlib import suppress

from inference.upstream import EngineClient
from inference.upstream_connection import Connection

OK = b"HTTP/1.1 200 OK\r\n"
JSON = OK + b"content-type: application/json\r\n"
HELLO = JSON + b"content-length: 5\r\n\r\nhello"
CHUNKED = OK + b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Scripted:
    """`talk` is a coroutine function of (reader, writer); `n_connections` counts what was accepted."""

    def __init__(self, tls=None):
        self.talk = says(HELLO)
        self.n_connections = 0
        self.requests = []
        self._tls = tls
        self._tasks = set()

    async def start(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    async def _accept(self, reader, writer):
        self.n_connections += 1
        self._tasks.add(task := asyncio.current_task())
        reader.requests = self.requests
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self.talk(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def stop(self):
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        while self._tasks:
            await asyncio.sleep(0)
        for _ in range(3):  # until the transports have said good-bye
            await asyncio.sleep(0)


async def read_request(reader):
    """(head, body) of the next request; IncompleteReadError where the client has gone."""
    head = await reader.readuntil(b"\r\n\r\n")
    n = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    body = await reader.readexactly(n)
    reader.requests.append((head, body))
    return head, body


def says(*pieces, then="keep", pause_s=0.0):
    """A talk that answers each request with `pieces`, then keeps the connection, ends it or resets it."""

    async def talk(reader, writer):
        while True:
            await read_request(reader)
            for piece in pieces:
                writer.write(piece)
                if pause_s:
                    await asyncio.sleep(pause_s)
            await writer.drain()
            if then == "end":
                writer.close()
                return
            if then == "reset":
                resets(writer)
                return

    return talk


def resets(writer):
    """Its connection ends with a reset instead of an orderly end."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def until_gone(reader):
    """Read on until the client has closed or reset the connection."""
    with suppress(ConnectionError):
        while await reader.read(65536):
            pass


class Wire(asyncio.Transport):
    """A transport without a socket: it keeps what was written and whether it was told to stop."""

    def __init__(self):
        self.written = []
        self.closed = self.paused = False

    def write(self, data):
        self.written.append(bytes(data))

    def is_closing(self):
        return self.closed

    def abort(self):
        self.closed = True

    close = abort

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False


class Wired(EngineClient):
    """A client whose connections are wires: `feed` is what arrives on the newest of them."""

    def __init__(self):
        super().__init__("http://engine")
        self.made = []

    async def _connect(self):
        connection = Connection(self)
        connection.connection_made(Wire())
        self.made.append(connection)
        return connection

    async def asks(self, method=b"GET"):
        """A request that is on its way."""
        task = asyncio.create_task(self.request(method, b"/"))
        await asyncio.sleep(0)
        return task

    def feed(self, *pieces, end=False):
        """Bytes as the event loop would hand them over; nothing after the transport was aborted."""
        connection = self.made[-1]
        for piece in pieces:
            if connection.transport is None or connection.transport.is_closing():
                break
            if piece:
                connection.data_received(piece)
        if connection.transport is None:
            return
        is_dropped = connection.transport.is_closing()
        if end and not is_dropped:
            connection.eof_received()
        if end or is_dropped:
            connection.connection_lost(None)


async def whole(task):
    """(status, content type, body) of a request's answer; the response is closed."""
    response = await task
    try:
        return response.status, response.content_type, await response.read()
    finally:
        response.close()


async def ask(client, method=b"POST", path=b"/", body=b"{}"):
    return await whole(client.request(method, path, body))


def cut(data, at):
    """`data` in pieces, cut at each of the places `at`."""
    places = sorted({0, len(data), *(each % (len(data) + 1) for each in at)})
    return [data[a:b] for a, b in itertools.pairwise(places)]
