"""An engine's log live, on real servers: the handshake, nothing lost or doubled, the right, slow viewers."""

import asyncio
import json
import socket
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx
import psutil
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from inference.log_files import LogWriter, clear, log_folder
from tests.servers import PASSWORD, Server

pytestmark = [pytest.mark.slow, pytest.mark.alone]
MODEL = "org/m"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = Server(
        tmp_path_factory.mktemp("socket"), web_only=True, LOCALAI_REGISTRATION_MODE="open"
    )
    yield made
    made.stop()


@pytest.fixture
def folder(server, request):
    """The log of a model of this test's own, as the engine process would write it."""
    return log_folder(server.folder / "data", f"{MODEL}/{request.node.name}")


@pytest.fixture
def writer(folder, server, request):
    return LogWriter(folder, f"{MODEL}/{request.node.name}")


def lines(n, *, first=1):
    now = datetime.now(UTC).isoformat()
    return [(now, "stdout", f"line {i}") for i in range(first, first + n)]


@pytest.fixture
def view(server, request):
    """Open the log's socket as the admin, or as somebody else."""

    def open_one(query="", *, key=None, path=None, **headers):
        key = server.key if key is None else key
        more = {k.replace("_", "-"): v for k, v in headers.items()}
        if key:
            more["authorization"] = f"Bearer {key}"
        path = path or f"/ws/backend-logs/{MODEL}/{request.node.name}"
        return connect(f"ws{server.url[4:]}{path}{query}", additional_headers=more, max_queue=None)

    return open_one


def take(viewer, n, timeout_s=5):
    """Frames until `n` lines came: (types, their numbers)."""
    kinds, seqs = [], []
    while len(seqs) < n:
        frame = json.loads(viewer.recv(timeout=timeout_s))
        kinds.append(frame["type"])
        seqs += [x["seq"] for x in frame.get("lines", [frame.get("line")])]
    return kinds, seqs


def test_r13_first_what_was_then_what_comes(view, writer):
    """WS /ws/backend-logs/:modelId: `initial`, then `line`."""
    writer.write(lines(3))
    with view() as viewer:
        assert take(viewer, 3) == (["initial"], [1, 2, 3])
        writer.write(lines(2, first=4))

        assert take(viewer, 2) == (["line", "line"], [4, 5])


def test_r13_a_log_that_has_not_begun_is_followed_from_its_first_line(view, folder, request):
    with view() as viewer:
        assert json.loads(viewer.recv(timeout=5)) == {"type": "initial", "lines": []}
        LogWriter(folder, "m").write(lines(1))
        frame = json.loads(viewer.recv(timeout=5))

    assert frame["line"]["text"] == "line 1"
    assert set(frame["line"]) == {"timestamp", "stream", "text", "seq"}


def test_r23_after_goes_on_and_batch_takes_several(view, writer):
    writer.write(lines(10))
    with view("?after=7&batch=1") as viewer:
        assert take(viewer, 3) == (["initial"], [8, 9, 10])
        writer.write(lines(50, first=11))
        kinds, seqs = take(viewer, 50)

    assert set(kinds) == {"lines"}
    assert seqs == list(range(11, 61))


def test_r23_more_than_a_thousand_behind_a_number_all_come(view, writer):
    writer.write(lines(3500))
    with view("?after=10&batch=1") as viewer:
        kinds, seqs = take(viewer, 3490)

    assert kinds[0] == "initial"
    assert seqs == list(range(11, 3501))


def test_r23_a_viewer_that_comes_back_misses_and_doubles_nothing(view, writer, folder):
    ended = threading.Event()

    def write():
        for i in range(1, 3001, 5):
            writer.write(lines(5, first=i))
            time.sleep(0.002)
        ended.set()

    thread = threading.Thread(target=write)
    thread.start()
    got, query = [], "?after=0"
    while len(got) < 3000:
        with view(query) as viewer:
            wanted = min(400, 3000 - len(got))
            got += take(viewer, wanted)[1]
        query = f"?after={got[-1]}"
    thread.join()

    assert got == list(range(1, 3001))


def test_r13_a_viewer_goes_on_over_a_clear(view, writer, folder):
    writer.write(lines(3))
    with view() as viewer:
        take(viewer, 3)
        clear(folder)
        writer.write(lines(2, first=4))

        assert take(viewer, 2)[1] == [4, 5]


def closed(viewer, meanwhile=lambda: None):
    """The code that the server ends the socket with."""
    try:
        while True:
            meanwhile()
            viewer.recv(timeout=5)
    except ConnectionClosed as exc:
        return exc.rcvd.code if exc.rcvd else None


def refusal(open_one):
    with pytest.raises(InvalidStatus) as caught, open_one():
        pass
    response = caught.value.response
    return response.status_code, json.loads(response.body)["error"]["message"]


@pytest.fixture(scope="module")
def bob(server):
    """(id, key) of somebody without rights."""
    with httpx.Client(base_url=server.url) as browser:
        body = {"email": "bob@example.org", "password": PASSWORD}
        assert browser.post("/api/auth/register", json=body).status_code in {200, 201}
        key = browser.post("/api/auth/api-keys", json={"name": "k"}).json()["key"]
        return browser.get("/api/auth/me").json()["id"], key


def test_r13_a_viewer_without_the_right_is_refused_at_the_handshake(view, bob):
    assert refusal(lambda: view(key=""))[0] == 401
    assert refusal(lambda: view(key="lai-" + "0" * 64))[0] == 401
    assert refusal(lambda: view(key=bob[1])) == (403, "Admin access required")


def test_w22_r13_a_page_of_another_site_opens_no_socket(view, server, writer):
    """W-22: LocalAI's sockets accept any Origin."""
    for origin in ("https://evil.example", "null", f"http://localhost:{server.port + 1}"):
        assert refusal(lambda origin=origin: view(origin=origin))[0] == 403
    with server.admin_browser() as browser:
        cookie = f"session={browser.cookies['session']}"
    foreign = refusal(lambda: view(key="", cookie=cookie, origin="https://evil.example"))
    assert foreign == (403, "This request came from another site.")
    with view(key="", cookie=cookie, origin=server.url) as viewer:
        assert json.loads(viewer.recv(timeout=5))["type"] == "initial"


def test_a_handshake_is_judged_as_a_request_is(view, bob):
    assert refusal(lambda: view(path="/ws/nothing"))[0] == 404
    assert refusal(lambda: view(path="/ws/nothing", key=""))[0] == 401
    assert refusal(lambda: view(path="/ws/backend-logs/../x"))[0] == 400
    assert refusal(lambda: view(path="/ws//backend-logs/x"))[0] == 400
    assert refusal(lambda: view(path="/v1/chat/completions"))[0] == 404
    for query in ("?after=%00", "?after=-1", "?after=x", "?after=" + "9" * 30, "?batch=yes"):
        assert refusal(lambda query=query: view(query))[0] == 400


def test_names_may_come_with_their_slash_encoded(server, view, writer, request):
    writer.write(lines(1))
    path = f"/ws/backend-logs/org%2Fm%2F{request.node.name}"
    with view(path=path) as viewer:
        assert take(viewer, 1)[1] == [1]


def test_r13_a_viewer_who_loses_the_right_is_cut_off_within_two_seconds(server, view, writer, bob):
    user_id, key = bob
    with server.client() as admin:
        assert admin.put(f"/api/auth/admin/users/{user_id}/role", json={"role": "admin"}).is_success
        with view(key=key) as viewer:
            assert json.loads(viewer.recv(timeout=5))["type"] == "initial"
            assert admin.put(
                f"/api/auth/admin/users/{user_id}/role", json={"role": "user"}
            ).is_success
            began = time.monotonic()
            assert closed(viewer, lambda: writer.write(lines(1))) == 1008

    assert time.monotonic() - began < 2


def test_r13_a_viewer_whose_session_ends_is_cut_off_within_two_seconds(server, view, writer):
    with server.admin_browser() as browser:
        cookie = f"session={browser.cookies['session']}"
        with view(key="", cookie=cookie) as viewer:
            viewer.recv(timeout=5)
            assert browser.post("/api/auth/logout").is_success
            began = time.monotonic()
            assert closed(viewer) == 1008

    assert time.monotonic() - began < 2


def raw_handshake(server, path, *, receive_buffer=None, method="GET"):
    """A handshake by hand; the connection and what came back."""
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(5)
    connection.connect(("127.0.0.1", server.port))
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: localhost:{server.port}\r\n"
        f"authorization: Bearer {server.key}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
        "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    connection.sendall(head.encode())
    return connection, connection.recv(4096)


def memory(server):
    return sum(psutil.Process(pid).memory_info().rss for pid in server.web_workers())


def test_r13_a_viewer_that_takes_nothing_is_hung_up_on_and_costs_no_memory(server, writer, request):
    path = f"/ws/backend-logs/{MODEL}/{request.node.name}"
    viewers = [raw_handshake(server, path, receive_buffer=4096)[0] for _ in range(10)]
    before = memory(server)
    for i in range(1, 30_001, 500):
        writer.write([(t, s, x + "x" * 500) for t, s, x in lines(500, first=i)])

    assert memory(server) - before < 40 * 1024 * 1024
    began = time.monotonic()

    def connections():
        return [
            c
            for pid in server.web_workers()
            for c in psutil.Process(pid).net_connections("tcp")
            if c.status == psutil.CONN_ESTABLISHED and c.raddr.port in ports
        ]

    ports = {viewer.getsockname()[1] for viewer in viewers}
    server.until(lambda: not connections(), 20)
    assert time.monotonic() - began < 20
    for viewer in viewers:
        viewer.close()


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_handshake_with_another_method_is_no_fault_of_ours(server, method):
    connection, answer = raw_handshake(server, "/ws/backend-logs/x", method=method)
    connection.close()

    assert answer.startswith(b"HTTP/1.1 405 ")
    assert httpx.get(f"{server.url}/healthz").status_code == 200
    assert "Traceback" not in server.log.read_text()


def test_a_message_that_is_too_large_ends_the_socket(view, writer):
    with view() as viewer:
        viewer.send("x" * 100_000)

        assert closed(viewer) == 1009


class Frames(asyncio.Protocol):
    """A viewer that only looks at the frames it needs to: the numbers, and how late each came."""

    def __init__(self):
        self.rest, self.seqs, self.behind_s, self.is_open = b"", [], 0.0, False
        self.ended = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc):
        self.ended.set_result(None)

    def data_received(self, data):
        raw = self.rest + data
        at = 0
        if not self.is_open:
            head, found, _ = raw.partition(b"\r\n\r\n")
            if not found:
                self.rest = raw
                return
            assert b" 101 " in head, head
            self.is_open, at = True, len(head) + 4
        while (frame := self.frame(raw, at)) is not None:
            payload, at = frame
            self.take(payload)
        self.rest = raw[at:]

    @staticmethod
    def frame(raw, at):
        if len(raw) < at + 2:
            return None
        n, start = raw[at + 1], at + 2
        if n == 126:
            n, start = int.from_bytes(raw[at + 2 : at + 4], "big"), at + 4
        elif n == 127:
            n, start = int.from_bytes(raw[at + 2 : at + 10], "big"), at + 10
        return (raw[start : start + n], start + n) if len(raw) >= start + n else None

    def take(self, payload):
        if not payload.startswith(b'{"type":"line'):
            return
        frame = json.loads(payload)
        taken = frame.get("lines") or [frame["line"]]
        self.seqs += [x["seq"] for x in taken]
        if len(self.seqs) % 50 == 0:
            sent = datetime.fromisoformat(taken[0]["timestamp"])
            self.behind_s = max(self.behind_s, (datetime.now(UTC) - sent).total_seconds())


@contextmanager
def a_thousand_a_second(writer, n_s):
    """The log grows by 1,000 lines a second for the time of the block."""

    def write():
        began = time.monotonic()
        for tick in range(n_s * 100):
            writer.write(lines(10, first=tick * 10 + 1))
            time.sleep(max(0.0, began + (tick + 1) / 100 - time.monotonic()))

    thread = threading.Thread(target=write)
    thread.start()
    yield
    thread.join()


async def test_r13_a_thousand_lines_a_second_with_twenty_viewers(server, writer, request):
    """None lost, none doubled, at most 5 s behind; half of the viewers take batches."""
    loop = asyncio.get_running_loop()
    viewers, transports = [], []
    for i in range(20):
        path = f"/ws/backend-logs/{MODEL}/{request.node.name}{'?batch=1' if i % 2 else ''}"
        transport, viewer = await loop.create_connection(Frames, "127.0.0.1", server.port)
        transport.write(
            f"GET {path} HTTP/1.1\r\nhost: localhost:{server.port}\r\n"
            f"authorization: Bearer {server.key}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
            "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        viewers.append(viewer)
        transports.append(transport)
    while not all(viewer.is_open for viewer in viewers):
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)

    with a_thousand_a_second(writer, 10):
        deadline = loop.time() + 30
        while any(len(v.seqs) < 10_000 for v in viewers) and loop.time() < deadline:
            await asyncio.sleep(0.1)

    for transport in transports:
        transport.close()
    await asyncio.gather(*(viewer.ended for viewer in viewers))
    behind_s = max(viewer.behind_s for viewer in viewers)
    print(f"20 viewers, 1,000 lines/s for 10 s: at most {behind_s:.2f} s behind")
    assert [len(viewer.seqs) for viewer in viewers] == [10_000] * 20
    assert all(viewer.seqs == list(range(1, 10_001)) for viewer in viewers)
    assert behind_s < 5
