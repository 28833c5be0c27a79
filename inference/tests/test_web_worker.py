"""Our server's protocol: one write an answer, the same bytes as uvicorn's own, bounds, hang-ups."""

import asyncio
import gc
import socket
import threading
import time
from contextlib import suppress

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from core.call import CONNECTION, Answer
from inference import web_worker
from inference.web_worker import (
    MAX_HEAD_BYTES,
    BoundedProtocol,
    BoundedSocket,
    Exchange,
    Worker,
)

BODY = b'{"answer": 42}'


class App:
    """`/direct` answers past ASGI, `/plain` by it, `/slow` waits for its caller to hang up.

    `/large` is more than the sockets between us hold, `/pieces` is less; `…pushed` goes past ASGI.
    """

    def __init__(self) -> None:
        self.ends: list[str] = []

    async def __call__(self, scope, receive, send) -> None:
        connection = scope.pop(CONNECTION)
        if scope["path"] == "/slow":
            await self._wait(connection, asyncio.sleep(20))
            return
        if scope["path"] in {"/large", "/large-pushed"}:
            past = connection if scope["path"] == "/large-pushed" else None
            await self._wait(connection, self._write(Answer(send, [], past), 400))
            return
        if scope["path"] in {"/pieces", "/pushed"}:
            await self._write(Answer(send, [], {"/pushed": connection}.get(scope["path"])), 3)
            return
        direct = connection if scope["path"] == "/direct" else None
        await Answer(send, [(b"x-correlation-id", b"1")], direct).json(200, BODY)

    async def _write(self, answer, n_pieces) -> None:
        await answer.start(200, [])
        for _ in range(n_pieces):
            await answer.write(b"x" * 65536)
        await answer.end(b"last")

    async def _wait(self, connection, work) -> None:
        task = connection.task = asyncio.current_task()
        try:
            await work
            self.ends.append("finished")
        except asyncio.CancelledError:
            self.ends.append("gone" if connection.gone else "cancelled")
            task.uncancel()


@pytest.fixture(params=[False, True], ids=["", "as uvicorn begins a request"])
def serve(request):
    """Start an app on the protocol; returns a function that opens a socket to it.

    An access log is what we have not; with one every request begins in uvicorn's own way.
    """
    servers = []

    def start(app, **more):
        listener = socket.create_server(("127.0.0.1", 0))
        given = {"ws": "none", "lifespan": "off", "server_header": False, **more}
        given.setdefault("access_log", request.param)
        config = uvicorn.Config(app, http=BoundedProtocol, **given)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        servers.append((server, thread, listener))
        return lambda: socket.create_connection(listener.getsockname(), timeout=5)

    yield start
    for server, thread, listener in servers:
        server.should_exit = True
        thread.join(10)
        listener.close()


def ask(connection, path, *, method="GET", version="1.1", more="") -> None:
    connection.sendall(f"{method} {path} HTTP/{version}\r\nhost: x\r\n{more}\r\n".encode())


def read_until(connection, end: bytes, times: int = 1) -> bytes:
    found = b""
    while found.count(end) < times:
        piece = connection.recv(65536)
        if not piece:
            break
        found += piece
    return found


def undated(raw: bytes) -> list[bytes]:
    return [line for line in raw.split(b"\r\n") if not line.startswith(b"date:")]


def test_an_answer_past_asgi_has_the_bytes_that_asgi_gives(serve):
    connect = serve(App())
    with connect() as one:
        ask(one, "/plain")
        plain = read_until(one, BODY)
        ask(one, "/direct")
        direct = read_until(one, BODY)

    assert sorted(undated(direct)) == sorted(undated(plain))
    assert undated(direct)[0] == b"HTTP/1.1 200 OK"
    assert direct.endswith(b"\r\n\r\n" + BODY)
    assert b"\r\ndate: " in direct
    assert b"content-security-policy: default-src" in direct


def test_it_leaves_in_one_piece(serve):
    with serve(App())() as one:
        ask(one, "/direct")

        assert one.recv(65536).endswith(BODY)


def test_http_1_0_and_close_end_the_connection(serve):
    connect = serve(App())
    for version, more in (("1.0", ""), ("1.1", "connection: close\r\n")):
        with connect() as one:
            ask(one, "/direct", version=version, more=more)
            raw = read_until(one, b"never")

        assert b"connection: close\r\n" in raw
        assert raw.endswith(BODY)


def test_head_has_no_body_and_the_connection_goes_on(serve):
    with serve(App())() as one:
        ask(one, "/direct", method="HEAD")
        head = read_until(one, b"\r\n\r\n")
        ask(one, "/direct")
        whole = read_until(one, BODY)

    assert BODY not in head
    assert b"content-length: 14" in head
    assert whole.endswith(BODY)


def test_pipelined_requests_are_answered_in_their_order(serve):
    with serve(App())() as one:
        one.sendall(
            b"".join(b"GET /%b HTTP/1.1\r\nhost: x\r\n\r\n" % p for p in (b"direct", b"plain") * 5)
        )
        raw = read_until(one, BODY, 10)

    assert raw.count(b"HTTP/1.1 200 OK") == raw.count(BODY) == 10


@pytest.mark.parametrize(("before", "after"), [([], []), (["/direct"], ["/direct"])])
def test_a_caller_who_hangs_up_cancels_what_runs_for_it(serve, before, after):
    """Also with requests before and behind it on the same connection."""
    app = App()
    connect = serve(app)
    with connect() as one:
        for path in [*before, "/slow"]:
            ask(one, path)
        time.sleep(0.2)
        for path in after:
            ask(one, path)
        time.sleep(0.2)
        began = time.monotonic()
    while not app.ends and time.monotonic() - began < 5:
        time.sleep(0.01)

    assert app.ends == ["gone"]
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("path", ["/direct", "/slow", "/large", "/pushed"])
def test_a_connection_that_ended_leaves_nothing_for_the_collector(serve, path):
    """Else a worker with many callers who leave stands still for it, and holds what they sent."""
    connect = serve(App())
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            with connect() as one:
                ask(one, path)
                one.recv(1) if path != "/slow" else time.sleep(0.1)
        kinds = (BoundedProtocol, Exchange, RequestResponseCycle)
        deadline = time.monotonic() + 5
        while n := sum(isinstance(each, kinds) for each in gc.get_objects()):
            assert time.monotonic() < deadline, n
            time.sleep(0.05)
    finally:
        gc.enable()


def test_a_head_that_is_too_large_is_431(serve):
    with serve(App())() as one:
        one.sendall(
            b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * (MAX_HEAD_BYTES + 10) + b"\r\n\r\n"
        )

        assert read_until(one, b"never").startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("requests_before", [0, 1])
def test_a_head_that_does_not_come_to_its_end_is_given_up(serve, monkeypatch, requests_before):
    """The first request of a connection and every later one, dripped or not sent at all."""
    monkeypatch.setattr(web_worker, "HEAD_TIMEOUT_S", 0.5)
    with serve(App())() as one:
        for _ in range(requests_before):
            ask(one, "/direct")
            read_until(one, BODY)
        began = time.monotonic()
        with suppress(OSError):
            for piece in (b"GET /direct HTTP/1.1\r\n", b"host: ", *[b"x"] * 40):
                one.sendall(piece)
                one.settimeout(0.05)
                try:
                    assert one.recv(100) == b""
                    break
                except TimeoutError:
                    continue

        assert 0.4 < time.monotonic() - began < 1.5


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_stream_past_asgi_has_the_bytes_that_asgi_gives(serve, method, version):
    connect = serve(App())
    raw = []
    for path in ("/pieces", "/pushed"):
        with connect() as one:
            ask(one, path, method=method, version=version, more="connection: close\r\n")
            raw.append(read_until(one, b"never"))

    assert undated(raw[0]) == undated(raw[1])
    assert (b"\r\nlast\r\n" in raw[1]) == (method == "GET")


@pytest.mark.parametrize("path", ["/large", "/large-pushed"])
def test_a_caller_who_takes_nothing_of_its_answer_is_hung_up_on(serve, monkeypatch, path):
    monkeypatch.setattr(web_worker, "STALL_TIMEOUT_S", 0.5)
    app = App()
    with serve(app)() as one:
        began = time.monotonic()
        ask(one, path)
        while not app.ends and time.monotonic() - began < 5:
            time.sleep(0.01)

        assert app.ends == ["gone"]
        assert 0.4 < time.monotonic() - began < 2


@pytest.mark.parametrize("path", ["/large", "/large-pushed"])
def test_a_caller_who_takes_its_answer_slowly_gets_all_of_it(serve, monkeypatch, path):
    monkeypatch.setattr(web_worker, "STALL_TIMEOUT_S", 0.5)
    app = App()
    with serve(app)() as one:
        ask(one, path)
        found = 0
        began = time.monotonic()
        while piece := one.recv(1 << 20):
            found += len(piece)
            if piece.endswith(b"last\r\n0\r\n\r\n"):
                break
            time.sleep(0.05)

        assert time.monotonic() - began > 0.75
        assert found > 400 * 65536
        assert app.ends == ["finished"]
        time.sleep(0.7)  # nothing is late any more, and the connection is good for another
        ask(one, "/direct")
        assert read_until(one, BODY).endswith(BODY)


def test_a_connection_that_is_idle_too_long_is_closed_and_no_earlier(serve):
    with serve(App(), timeout_keep_alive=1)() as one:
        for _ in range(3):
            ask(one, "/direct")
            read_until(one, BODY)
            time.sleep(0.5)
        began = time.monotonic()

        assert one.recv(100) == b""
        assert 0.2 < time.monotonic() - began < 2


@pytest.mark.parametrize("path", ["/direct", "/plain"])
def test_a_head_that_began_before_an_answer_ended_has_no_longer_for_it(serve, monkeypatch, path):
    monkeypatch.setattr(web_worker, "HEAD_TIMEOUT_S", 0.5)
    with serve(App(), timeout_keep_alive=30)() as one:
        one.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\nGET /direct HTT".encode())
        began = time.monotonic()
        while one.recv(65536):
            pass

        assert 0.4 < time.monotonic() - began < 2


TARGETS = (
    "/a/b",
    "/a?x=1&y",
    "/a?",
    "/a%20b",
    "/a%2Fb?c",
    "//a//b",
    "/a#b",
    "http://x/y?z",
    "/",
    "*",
)


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_request_is_to_the_application_what_uvicorn_makes_of_it(serve, method, version):
    """One that begins in our own way is held against uvicorn's, which the access log brings."""
    found: dict[bool, list[object]] = {}

    def keeping(seen):
        async def app(scope, receive, send) -> None:
            scope.pop(CONNECTION)
            hers = {key: scope[key] for key in scope.keys() - {"server", "client"}}
            seen.append((hers, await receive()))
            await Answer(send, []).json(200, BODY)

        return app

    for logs in (True, False):
        connect = serve(keeping(found.setdefault(logs, [])), access_log=logs)
        for target in TARGETS:
            with connect() as one:
                more = "expect: 100-continue\r\ncontent-length: 3\r\nX-Y: z\r\n"
                ask(one, target, method=method, version=version, more=more)
                one.sendall(b"abc")
                read_until(one, BODY)

    assert found[True] == found[False]
    assert len(found[True]) > 5


async def echo_nothing(_scope, receive, send) -> None:
    """A WebSocket that is accepted and says nothing until the other end goes."""
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


HANDSHAKE = (
    "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def test_r13_a_socket_is_pinged_and_one_that_does_not_answer_is_hung_up_on(serve):
    told = Worker.CONFIG_KWARGS
    assert (told["ws"], told["ws_ping_interval"], told["ws_ping_timeout"]) == (
        BoundedSocket,
        30,
        30,
    )
    more = {name: told[name] for name in ("ws", "ws_max_size", "ws_per_message_deflate")}
    open_one = serve(echo_nothing, **more, ws_ping_interval=0.3, ws_ping_timeout=0.3)
    with open_one() as one:
        ask(one, "/", more=HANDSHAKE)
        assert b" 101 " in read_until(one, b"\r\n\r\n")
        began = time.monotonic()

        assert one.recv(100)[0] == 0x89  # a ping, which nobody answers

        while one.recv(100):
            pass
        assert 0.5 < time.monotonic() - began < 5
