"""Traces: a span for the request and one for the engine's part, and no harm without a collector."""

import asyncio
import socket
import subprocess
import sys
import time

import pytest

from inference.tests.otlp_receiver import Receiver, plain
from tests.test_two_doors import HI, LaneClient

pytestmark = pytest.mark.django_db(transaction=True)
CHAT = "/v1/chat/completions"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SERVER, CLIENT, ERROR = 2, 3, 2


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.stop()


@pytest.fixture
def lane(settings, stub, alice, make_key):
    """Ask the lane a number of things with traces going to `endpoint`, to the end of its life."""

    def ask(endpoint, *requests, headers=()):
        update = {"engines": [f"m={stub.url}"], "otlp_endpoint": endpoint}
        settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update=update)
        client = LaneClient(make_key(alice)[1])
        client.headers += headers

        async def ask_all():
            async with client as lane:
                answers = [await lane.ask("POST", path, body) for path, body in requests]
                ask.ended = time.monotonic()
                return answers

        answers = asyncio.run(ask_all())
        ask.closing_s = time.monotonic() - ask.ended
        return answers

    return ask


def test_a_request_has_a_span_and_the_engines_part_one_below_it(lane, receiver, stub):
    headers = [
        (b"traceparent", f"00-{TRACE}-{PARENT}-01".encode()),
        (b"tracestate", b"vendor=1"),
        (b"x-correlation-id", b"cid-1"),
    ]
    body = {"model": "m", "messages": HI, "stub": {"tokens": 17}}
    ((status, _, _),) = lane(receiver.url, (CHAT, body), headers=headers)

    assert status == 200
    (own,), (engine,) = receiver.named(f"POST {CHAT}"), receiver.named("chat m")
    assert (own.kind, engine.kind) == (SERVER, CLIENT)
    assert own.trace_id.hex() == engine.trace_id.hex() == TRACE
    assert own.parent_span_id.hex() == PARENT
    assert engine.parent_span_id == own.span_id
    assert own.start_time_unix_nano <= engine.start_time_unix_nano
    assert engine.end_time_unix_nano <= own.end_time_unix_nano
    assert plain(own.attributes) == {
        "http.request.method": "POST",
        "http.route": CHAT,
        "http.response.status_code": 200,
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 17,
        "gatehouse.correlation_id": "cid-1",
    }
    told = stub.state()["headers"]
    assert told["traceparent"] == f"00-{TRACE}-{engine.span_id.hex()}-01"
    assert told["tracestate"] == "vendor=1"
    assert receiver.resources[0]["service.name"] == "gatehouse"


def test_no_span_says_what_was_asked_or_who_asked(lane, receiver, alice):
    body = {"model": "m", "messages": [{"role": "user", "content": "the secret question"}]}
    lane(receiver.url, (CHAT, body), (CHAT, {**body, "stream": True, "stub": {}}))

    assert len(receiver.named("chat m")) == 2
    for word in ("secret", " token", "lai-", alice.email, "alice", str(alice.pk)):
        assert word.encode() not in receiver.raw, word


def test_a_stream_ends_its_spans_with_its_counts(lane, receiver):
    body = {"model": "m", "messages": HI, "stream": True, "stub": {"tokens": 7}}
    lane(receiver.url, (CHAT, body))

    for name in (f"POST {CHAT}", "chat m"):
        (span,) = receiver.named(name)
        assert plain(span.attributes)["gen_ai.usage.output_tokens"] == 7


@pytest.mark.parametrize(
    ("body", "status", "reason", "is_fault"),
    [
        ({"model": "nope", "messages": HI}, 404, "model_not_found", False),
        ({"model": "m", "messages": HI, "stub": {"garbage": True}}, 502, "engine_failed", True),
        (
            {"model": "m", "messages": HI, "stream": True, "stub": {"tokens": 9, "die_after": 3}},
            200,
            "engine_failed",
            True,
        ),
    ],
)
def test_an_error_is_told_by_its_reason(lane, receiver, body, status, reason, *, is_fault):
    lane(receiver.url, (CHAT, body))

    (own,) = receiver.named(f"POST {CHAT}")
    assert plain(own.attributes)["error.type"] == reason
    assert plain(own.attributes)["http.response.status_code"] == status
    assert (own.status.code == ERROR) is is_fault


def test_a_route_is_its_pattern_and_a_bad_parent_is_none(lane, receiver):
    headers = [(b"traceparent", b"00-zz-evil-01")]
    lane(receiver.url, ("/v1/engines/m/completions", {"prompt": "x"}), headers=headers)

    (own,) = receiver.named("POST /v1/engines/<path:model>/completions")
    assert own.parent_span_id == b""


def test_a_collector_that_is_gone_slows_and_fails_nothing(lane):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{free.getsockname()[1]}"
    requests = [(CHAT, {"model": "m", "messages": HI})] * 50

    began = time.monotonic()
    answers = lane(gone, *requests)

    assert [status for status, *_ in answers] == [200] * 50
    assert lane.ended - began < 10
    assert lane.closing_s < 8


def test_a_collector_that_never_answers_holds_nothing_up(lane):
    """It takes the connection and says nothing: neither requests nor the end of the worker wait for it."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        requests = [(CHAT, {"model": "m", "messages": HI})] * 600  # more than a batch
        answers = lane(f"http://127.0.0.1:{silent.getsockname()[1]}", *requests)

    assert {status for status, *_ in answers} == {200}
    assert lane.closing_s < 8


def test_without_a_collector_nothing_of_it_is_imported():
    code = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "localai_project.settings"
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from localai_project import asgi
assert asgi._tracing() is None
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.strip() == "[]"
