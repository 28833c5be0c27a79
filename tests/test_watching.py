"""A real server as operators watch it: metrics of all its processes, logs as JSON."""

import json
import os
import signal
import sqlite3
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from inference.tests.otlp_receiver import Receiver, plain
from tests.people import PASSWORD
from tests.servers import Server
from tests.stub import StubEngine

CALLS = 40


@pytest.fixture(scope="module")
def receiver():
    made = Receiver()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory, receiver):
    engine = StubEngine()
    made = Server(
        tmp_path_factory.mktemp("watching"),
        web_only=True,
        LOCALAI_ENGINES=f"m={engine.url}",
        LOCALAI_LOG_FORMAT="json",
        LOCALAI_METRICS_USERS="true",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        LOCALAI_REGISTRATION_MODE="open",
    )
    with made.client() as client:
        made.until(lambda: client.post("/v1/completions", json=ask()).status_code == 200, 30)
    yield made
    made.stop()
    engine.stop()


def ask():
    return {"model": "m", "prompt": "hi"}


def ask_once(server, method, path, **more):
    """One request on a connection of its own, so that both workers have some."""
    headers = {"Authorization": f"Bearer {server.key}", **more.pop("headers", {})}
    return httpx.request(method, server.url + path, headers=headers, timeout=20, **more)


def scraped(server):
    text = ask_once(server, "GET", "/metrics").text
    return {
        (s.name, s.labels.get("path", s.labels.get("engine", "")), s.labels.get("le", "")): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def log_lines(server):
    return [json.loads(line) for line in server.log.read_text().splitlines()]


def test_two_workers_and_their_successors_are_added_up(server):
    """Every call is counted once, whichever worker answered it, also after one was killed."""
    path = "/v1/engines/<path:model>/chat/completions"
    body = {"messages": [{"role": "user", "content": "hi"}]}
    count = ("api_call_count", path, "")

    def call(n):
        for _ in range(n):
            answer = ask_once(server, "POST", "/v1/engines/m/chat/completions", json=body)
            assert answer.status_code == 200

    call(CALLS)
    server.until(lambda: scraped(server).get(count) == CALLS, 5)
    files = list((server.folder / "data" / "metrics").glob("histogram_*.db"))
    assert len(files) == 2
    victim = int(files[0].stem.partition("_")[2])

    os.kill(victim, signal.SIGKILL)
    server.until(lambda: not Path(f"/proc/{victim}").exists(), 20)
    server.until(lambda: len(server.processes("gunicorn")) == 3, 20)
    call(CALLS)

    found = server.until(lambda: (now := scraped(server)).get(count) == 2 * CALLS and now, 5)
    assert found["api_call_bucket", path, "+Inf"] == 2 * CALLS
    assert found["gatehouse_waiting_requests", "m", ""] == 0
    gauges = (server.folder / "data" / "metrics").glob("gauge_live*.db")
    assert str(victim) not in {path.stem.rpartition("_")[2] for path in gauges}
    assert (server.folder / "data" / "metrics").stat().st_mode & 0o777 == 0o700


def test_with_users_in_labels_it_is_the_admins(server):
    """C-03, through the lane's process and the setting's own variable."""
    with httpx.Client(base_url=server.url) as bob:
        body = {"email": "bob@example.org", "password": PASSWORD}
        assert bob.post("/api/auth/register", json=body).status_code == 201
        assert bob.get("/version").status_code == 200
        assert bob.get("/metrics").status_code == 403
    assert ask_once(server, "GET", "/metrics/").status_code == 200


def test_a_log_line_is_json_with_the_callers_id(server):
    """An unexpected error in either door: in the log with the caller's id, and no secret in it."""
    with sqlite3.connect(server.folder / "data" / "database.db", timeout=20) as database:
        database.execute("ALTER TABLE inference_model RENAME TO away")
        (owner,) = database.execute("SELECT id FROM accounts_user WHERE role = 'admin'").fetchone()
        database.execute(
            "INSERT INTO inference_storedresponse (id, user_id, created_at, response, input)"
            " VALUES ('resp_x', ?, datetime('now'), '{}', '5')",
            [str(UUID(owner))],
        )
    given = {"X-Correlation-ID": "slow-1"}
    slow = ask_once(server, "GET", f"/app?token={server.key}", headers=given)
    given = {"X-Correlation-ID": "fast-1"}
    body = {"model": "m", "input": "x", "previous_response_id": "resp_x"}
    fast = ask_once(server, "POST", "/v1/responses", json=body, headers=given)
    assert (slow.status_code, fast.status_code) == (500, 500)
    assert slow.headers["x-correlation-id"] == "slow-1"

    lines = server.until(lambda: (n := log_lines(server)) and len(of(n, "slow-1")) and n, 5)

    (fast_line,) = of(lines, "fast-1")
    assert fast_line["message"] == "unexpected error on responses"
    assert (fast_line["level"], fast_line["logger"]) == ("error", "gatehouse.lane")
    assert "TypeError" in fast_line["exception"]
    slow_line = of(lines, "slow-1")[0]
    assert slow_line["logger"] == "django.request"
    assert "no such table" in slow_line["exception"]
    assert fast_line["process"] == slow_line["process"] == "web"
    assert server.key not in server.log.read_text()


def of(lines, correlation_id):
    return [line for line in lines if line.get("correlation_id") == correlation_id]


def test_a_trace_says_that_its_caller_left(server, receiver):
    body = {**ask(), "stream": True, "stub": {"tokens": 200, "tick": 0.1}}
    headers = {"Authorization": f"Bearer {server.key}", "X-Correlation-ID": "left-1"}
    url = f"{server.url}/v1/completions"
    with httpx.stream("POST", url, json=body, headers=headers, timeout=20) as answer:
        assert answer.status_code == 200
        next(answer.iter_bytes())

    def found():
        return [
            span
            for span in receiver.named("POST /v1/completions")
            if plain(span.attributes)["gatehouse.correlation_id"] == "left-1"
        ]

    server.until(found, 15)  # the SDK sends every five seconds

    (span,) = found()
    attributes = plain(span.attributes)
    assert attributes["error.type"] == "client_gone"
    assert 0 < attributes["gen_ai.usage.output_tokens"] < 200
    (engine,) = [each for each in receiver.spans if each.parent_span_id == span.span_id]
    assert engine.end_time_unix_nano <= span.end_time_unix_nano


def test_at_the_end_every_span_is_out_and_every_line_is_json(server, receiver):
    """gunicorn's own lines and what `serve` says included."""
    given = {"X-Correlation-ID": "last-1"}
    assert ask_once(server, "POST", "/v1/completions", json=ask(), headers=given).status_code == 200

    server.stop()

    sent = [plain(span.attributes).get("gatehouse.correlation_id") for span in receiver.spans]
    assert sent.count("last-1") == 1
    lines = log_lines(server)

    assert {line["process"] for line in lines} >= {"serve", "web"}
    assert any(line["message"].startswith("Gatehouse listens on") for line in lines)
    assert any(line["logger"] == "gunicorn.error" for line in lines)  # of the worker killed above
    for line in lines:
        assert {"time", "level", "logger", "message", "process", "pid"} <= line.keys()
