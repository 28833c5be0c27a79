"""What breaks, and what is in the books afterwards: through gunicorn with two workers."""

import os
import signal
import socket
import sqlite3
import time

import httpx
import pytest

from tests.faults.conftest import ask
from tests.servers import PASSWORD, Server
from tests.stub import StubEngine


def counted(server):
    totals = server.usage()
    return totals["request_count"], totals["completion_tokens"], totals["error_count"]


def test_an_engine_killed_in_mid_stream_ends_the_stream_with_an_error_event(tmp_path):
    engine = StubEngine()
    server = Server(tmp_path, web_only=True, LOCALAI_ENGINES=f"m={engine.url}")
    try:
        with server.client() as client:
            server.until(
                lambda: client.post("/v1/chat/completions", json=ask()).status_code == 200, 30
            )
            before = counted(server)
            with client.stream(
                "POST", "/v1/chat/completions", json=ask(True, tokens=50, tick=0.02, die=5)
            ) as answer:
                lines = [line for line in answer.iter_lines() if line]
            assert answer.status_code == 200
            assert '"reason":"engine_failed"' in lines[-2]
            assert lines[-1] == "data: [DONE]"
            after = counted(server)
            assert (after[0] - before[0], after[1] - before[1]) == (1, 5)
            again = client.post("/v1/chat/completions", json=ask())
            assert again.status_code in {502, 503}
    finally:
        server.stop()
        engine.stop()


def test_a_worker_killed_right_after_an_answer_loses_nothing_and_counts_it_once(server):
    before = counted(server)
    for round_number in range(1, 4):
        with server.client() as client:
            assert client.post("/v1/chat/completions", json=ask(tokens=7)).status_code == 200
        for pid in server.web_workers():
            os.kill(pid, signal.SIGKILL)
        server.until(server.answers, 30)
        after = counted(server)
        assert (after[0] - before[0], after[1] - before[1]) == (round_number, 7 * round_number)


def test_a_worker_killed_in_mid_stream_leaves_what_was_delivered_as_estimated(server):
    before = counted(server)
    with (
        server.client() as client,
        client.stream(
            "POST", "/v1/chat/completions", json=ask(True, tokens=500, tick=0.02)
        ) as answer,
    ):
        lines = answer.iter_lines()
        started = time.monotonic()
        while time.monotonic() - started < 2.5:
            next(lines)
        for pid in server.web_workers():
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(httpx.HTTPError):
            list(lines)
    server.until(server.answers, 30)
    server.until(lambda: counted(server)[0] == before[0] + 1, 10)
    assert counted(server)[1] - before[1] > 20


def test_a_hang_up_stops_the_engines_work_within_a_second(server, engine):
    aborted = engine.state()["aborted"]
    with (
        server.client() as client,
        client.stream(
            "POST", "/v1/chat/completions", json=ask(True, tokens=5000, tick=0.02)
        ) as answer,
    ):
        next(answer.iter_lines())

    server.until(lambda: engine.state()["aborted"] == aborted + 1, 1)


def test_a_hang_up_while_the_engine_is_silent_stops_it_too(server, engine):
    aborted = engine.state()["aborted"]
    with server.client() as client, pytest.raises(httpx.ReadTimeout):
        client.post("/v1/chat/completions", json=ask(hang=True), timeout=0.5)

    server.until(lambda: engine.state()["aborted"] == aborted + 1, 1)


def test_garbage_is_502_in_the_familys_envelope(server):
    with server.client() as client:
        openai = client.post("/v1/chat/completions", json=ask(garbage=True))
        anthropic = client.post("/v1/messages", json={**ask(garbage=True), "max_tokens": 5})

    assert (openai.status_code, openai.json()["error"]["reason"]) == (502, "engine_failed")
    assert (anthropic.status_code, anthropic.json()["type"]) == (502, "error")
    assert "html" not in openai.text


def test_a_database_locked_for_five_seconds_stops_no_answer_and_loses_no_usage(server):
    with server.client() as client:
        client.post("/v1/chat/completions", json=ask())
    before = counted(server)
    lock = sqlite3.connect(server.folder / "data" / "database.db", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    started = time.monotonic()
    try:
        with server.client() as client:
            n = 0
            while time.monotonic() - started < 5:
                answer = client.post("/v1/chat/completions", json=ask(tokens=3), timeout=2)
                assert answer.status_code == 200
                n += 1
                time.sleep(0.1)
    finally:
        lock.execute("ROLLBACK")
        lock.close()

    after = counted(server)
    assert (after[0] - before[0], after[1] - before[1]) == (n, 3 * n)


@pytest.mark.parametrize(
    "target",
    [
        b"//v1/models",
        b"/v1//models",
        b"/v1/../v1/models",
        b"/v1/%2e%2e/v1/models",
        b"/v1/chat%2fcompletions",
        b"/v1%2fmodels",
        b"/v1\\models",
        b"/v1/models%00",
        b"/api/auth/%2e%2e/auth/me",
        b"http://elsewhere.example/v1/models",
        b"/v1/models/%252e%252e",
    ],
)
@pytest.mark.parametrize("host", [b"localhost", b"evil.example", b"localhost:80@evil.example"])
def test_no_spelling_of_path_or_host_gets_past_the_gate(server, target, host):
    """CVE-2026-49468: the gate and the router read one string."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(
            b"GET %b HTTP/1.1\r\nhost: %b\r\nconnection: close\r\n\r\n" % (target, host)
        )
        status = int(connection.makefile("rb").readline().split()[1])

    assert status in {400, 401, 404}


def test_heads_that_are_too_large_are_431_and_bodies_413(server):
    with server.client() as client:
        assert client.get("/v1/models", headers={"x-filler": "a" * 40_000}).status_code == 431
        body = (
            b'{"model":"m","messages":[{"role":"user","content":"'
            + b"a" * (16 * 1024 * 1024)
            + b'"}]}'
        )
        answer = client.post("/v1/chat/completions", content=body)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (413, "too_large")
        chunked = client.post(
            "/v1/chat/completions", content=(b"a" * 1024 * 1024 for _ in range(17))
        )
        assert chunked.status_code == 413


def test_a_body_that_nobody_asked_for_is_cut_off_before_the_gate(server):
    with server.client() as client:
        del client.headers["authorization"]
        answer = client.post("/nowhere", content=(b"a" * 1024 * 1024 for _ in range(40)))

    assert answer.status_code == 413


def test_a_hang_up_stops_pipelined_requests_too(server, engine):
    import json

    aborted = engine.state()["aborted"]
    body = json.dumps(ask(True, tokens=5000, tick=0.02)).encode()
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer %b\r\n"
        % server.key.encode()
    )
    one = head + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(one + one)
        connection.recv(1000)

    server.until(lambda: engine.state()["aborted"] >= aborted + 1, 2)
    server.until(lambda: engine.state()["active"] == 0, 3)


def test_every_answer_of_the_lane_says_our_own_share_of_the_time(server):
    with server.client() as client:
        answer = client.post(
            "/v1/chat/completions", json=ask(tick=0.3), headers={"x-correlation-id": "abc-7"}
        )

    assert 0 < float(answer.headers["x-gatehouse-overhead-ms"]) < 100
    assert answer.headers["x-correlation-id"] == "abc-7"


def test_no_secret_is_in_any_sink(server, engine):
    """The canary of peers.md: marked secrets go in, and every file and log is searched."""
    with httpx.Client(base_url=server.url) as browser:
        browser.post(
            "/api/auth/login", json={"email": "admin@example.org", "password": "correct horse lamp"}
        )
        cookie = browser.cookies["session"]
        key = browser.post("/api/auth/api-keys", json={"name": "canary"}).json()["key"]
        code = browser.post("/api/auth/admin/invites", json={}).json()["code"]
        browser.get(f"/invite/{code}")
        browser.get("/v1/models", headers={"Authorization": f"Bearer {key}"})
        browser.post("/v1/chat/completions", json=ask(tokens=2), headers={"x-api-key": key})
    server.usage()
    time.sleep(1)

    secrets = [s.encode() for s in (cookie, key, code, server.key, "correct horse lamp")]
    for path in [server.log, *(p for p in (server.folder / "data").rglob("*") if p.is_file())]:
        content = path.read_bytes()
        assert not [s for s in secrets if s in content], path
    assert key not in str(engine.state()["headers"])


def test_s39_a_running_answer_finishes_when_its_callers_rights_end(server):
    with server.client() as admin:
        made = admin.post("/api/auth/admin/invites").json()
        with httpx.Client(base_url=server.url) as browser:
            body = {"email": "s39@example.org", "password": PASSWORD, "inviteCode": made["code"]}
            user = browser.post("/api/auth/register", json=body).json()["user"]
            key = browser.post("/api/auth/api-keys", json={"name": "k"}).json()["key"]
        headers = {"Authorization": f"Bearer {key}"}
        with (
            httpx.Client(base_url=server.url, headers=headers, timeout=20) as bob,
            bob.stream(
                "POST", "/v1/chat/completions", json=ask(stream=True, tokens=20, tick=0.05)
            ) as answer,
        ):
            lines = answer.iter_lines()
            next(lines)
            admin.put(f"/api/auth/admin/users/{user['id']}/status", json={"status": "disabled"})
            rest = list(lines)
            refused = bob.get("/v1/models").status_code

    assert "data: [DONE]" in rest
    assert refused == 401
