"""R-11, R-12, R-22, R-30: what the inference path has traced of its requests, from the lane to the list."""

import asyncio
import logging
from base64 import b64decode

import orjson
import pytest

from core.json_lines import JsonLines
from inference import handlers
from inference.api.adapter import with_database
from tests.people import Api
from tests.test_two_doors import HI, LaneClient
from usage.models import UsageEvent

pytestmark = pytest.mark.django_db(transaction=True)
URL, ENGINES, SETTINGS = "/api/traces", "/api/backend-traces", "/api/settings"
CHAT = "/v1/chat/completions"
BODY = {"model": "m", "messages": HI}


@pytest.fixture
def key(settings, stub, tmp_path, alice, make_key):
    """An admin's key on a server with a journal of its own."""
    update = {"engines": [f"m={stub.url}"], "data_path": tmp_path}
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update=update)
    return make_key(alice, name="laptop")[1]


@pytest.fixture
def admin(key):
    return Api(key=key)


@pytest.fixture
def ask(key):
    """Have the lane answer these requests, one after the other, and end."""

    def run(*requests, headers=(), key=key):
        client = LaneClient(key)
        client.headers += headers

        async def ask_all():
            async with client as lane:
                answers = [await lane.ask(*request) for request in requests]
                run.headers = lane.answered
                return answers

        return asyncio.run(ask_all())

    return run


def stages(trace):
    return trace["stages_ms"]


def test_r22_a_fresh_server_traces_and_keeps_no_bodies(admin, ask):
    """SET:enable_tracing is on by default, and `tracing_bodies` (R-11) off."""
    ((status, _, answer),) = ask(("POST", CHAT, BODY), headers=[(b"user-agent", b"curl/8")])

    (found,) = admin.get(f"{URL}?full=true").json()
    assert (status, found["response"]["status"]) == (200, 200)
    assert found["request"]["path"] == CHAT
    assert (found["request"]["headers"], found["request"]["body"]) == (None, None)
    assert found["request"]["body_bytes"] == len(orjson.dumps(BODY))
    assert found["response"]["body_bytes"] == len(answer)
    assert (found["user_name"], found["api_key_name"]) == ("alice", "laptop")
    assert (found["model"], found["user_agent"]) == ("m", "curl/8")
    event = UsageEvent.objects.get(pk=found["id"])
    assert (found["prompt_tokens"], found["completion_tokens"]) == (
        event.prompt_tokens,
        event.completion_tokens,
    )


@pytest.mark.parametrize("stream", [False, True])
def test_r30_the_stages_are_where_the_time_went(admin, ask, stream):
    """Together they are the duration; what the engine took stands where it took it."""
    told = {"tokens": 20, "tick": 0.01 if stream else 0.2}
    ask(("POST", CHAT, {**BODY, "stream": stream, "stub": told}))

    (found,) = admin.get(URL).json()
    times = stages(found)
    assert sum(times.values()) == pytest.approx(found["duration"] / 1e6, abs=0.01)
    assert times["queue"] == 0
    assert times["stream" if stream else "first_token"] >= 150
    assert 0 < times["gate"] < 150
    assert 0 <= times["settle"] < 150


def test_r30_time_in_line_is_told_apart(tmp_path, stub):
    from inference.endpoints import ENDPOINTS
    from inference.tests.rig import Rig
    from usage.traces.terms import TraceTerms

    async def two():
        rig = Rig(tmp_path, stub.url, concurrency=1)
        rig.runtime.meter.traces = TraceTerms()
        calls = [rig.call("chat-completions", {**BODY, "stub": {"tick": 0.2}}) for _ in range(2)]
        await asyncio.gather(
            *(handlers.infer(*call, rig.runtime, ENDPOINTS["chat-completions"]) for call in calls)
        )
        await rig.runtime.finish()
        return sorted(event["tm"][5] for event in rig.events())

    first, second = asyncio.run(two())
    assert first == 0
    assert second >= 0.15


def test_r12_all_ids_of_a_request_are_the_same_one(admin, ask, monkeypatch):
    """The log's, the usage event's, the response header's, and of both traces (issue 6)."""
    lines = []

    class Seen(logging.Handler):
        def emit(self, record):
            lines.append(orjson.loads(JsonLines().format(record)))

    real = handlers.parse

    def parse(raw):
        logging.getLogger("gatehouse.lane").warning("looked at")
        return real(raw)

    monkeypatch.setattr(handlers, "parse", parse)
    handler = Seen()
    logging.getLogger("gatehouse.lane").addHandler(handler)
    try:
        for headers in ([], [(b"x-correlation-id", b"mine-7")]):
            lines.clear()
            ask(("POST", CHAT, BODY), headers=headers)
            given = ask.headers[b"x-correlation-id"].decode()
            (trace,) = admin.get(f"{URL}?correlation_id={given}").json()
            (engine,) = admin.get(f"{ENGINES}?correlation_id={given}").json()
            event = UsageEvent.objects.get(pk=trace["id"])
            (line,) = [line for line in lines if line["message"] == "looked at"]
            seen = {line["correlation_id"], event.correlation_id, trace["correlation_id"]}
            assert seen | {engine["correlation_id"], engine["data"]["correlation_id"]} == {given}
    finally:
        logging.getLogger("gatehouse.lane").removeHandler(handler)


def test_r12_refusals_are_traced_where_the_books_know_who_it_was(
    admin, ask, settings, make_user, make_key
):
    """404, 400, 403 of a known person; nobody's 401 is not in the books, and not here."""
    bob = make_user("bob@example.org", permissions={"chat": False})
    ask(
        ("POST", CHAT, {**BODY, "model": "nope"}),
        ("POST", CHAT, {**BODY, "stream": "x" * 9, "n": []}),
    )
    ask(("POST", CHAT, BODY), key=make_key(bob)[1])
    ask(("POST", CHAT, BODY), key="lai-" + "0" * 64)

    unknown, *_, forbidden = admin.get(URL).json()

    assert unknown["response"]["status"] == 404
    assert (unknown["model"], stages(unknown)["first_token"]) == ("nope", 0)
    assert 'model "nope" not found' in unknown["error"]
    assert (forbidden["response"]["status"], forbidden["user_name"]) == (403, "bob")
    assert forbidden["error"].startswith("feature not enabled")
    assert all(each["response"]["status"] != 401 for each in admin.get(URL).json())
    assert [each["model_name"] for each in admin.get(f"{ENGINES}?model=nope").json()] == []


def test_r30_an_engine_that_fails_is_seen_in_both_lists(admin, ask):
    ask(("POST", CHAT, {**BODY, "stub": {"status": 500}}))

    (found,), (engine,) = admin.get(URL).json(), admin.get(ENGINES).json()
    assert (found["response"]["status"], engine["status"]) == (502, 500)
    assert found["error"] == engine["error"]
    assert found["id"] == engine["id"]
    assert engine["backend"] == "remote"


@pytest.mark.parametrize("stream", [False, True])
def test_r11_set_tracing_bodies_keeps_what_was_asked_and_answered(admin, ask, key, stream):
    """`tracing_bodies`: base64 of the bytes of both sides, secrets redacted, in full alone."""
    admin.post(SETTINGS, {"tracing_bodies": True})
    asked = {**BODY, "stream": stream, "user": key}
    ((_, _, answer),) = ask(("POST", CHAT, asked), headers=[(b"cookie", b"session=s3cret-one")])

    (short,), (full,) = admin.get(URL).json(), admin.get(f"{URL}?full=true").json()
    assert short["request"]["body"] is None
    assert b64decode(full["response"]["body"]) == answer
    kept = b64decode(full["request"]["body"])
    assert orjson.loads(kept)["messages"] == HI
    assert full["request"]["body_bytes"] == len(orjson.dumps(asked))
    assert full["request"]["headers"]["Authorization"] == ["[redacted]"]
    assert full["request"]["headers"]["Cookie"] == ["[redacted]"]
    assert key not in kept.decode()


def test_r11_no_file_of_the_journal_has_a_secret_either(admin, ask, key, tmp_path, monkeypatch):
    from usage import drain

    admin.post(SETTINGS, {"tracing_bodies": True, "tracing_redact_prompts": True})
    monkeypatch.setattr(drain, "drain", lambda *_: drain.Drained(0, complete=True))
    body = {"model": "m", "messages": [{"role": "user", "content": "canary-of-a-prompt"}]}
    ask(("POST", CHAT, {**body, "user": key}), ("POST", CHAT, {**body, "model": "nope"}))

    written = b"".join(path.read_bytes() for path in (tmp_path / "journal").glob("*.journal"))
    assert b'"k":"t"' in written
    from base64 import b64encode

    for secret in (b"canary-of-a-prompt", key.encode()):
        assert secret not in written
        assert all(b64encode(b" " * i + secret)[4:-4] not in written for i in range(3))


def test_set_enable_tracing_off_traces_nothing_and_bills_all_the_same(admin, ask):
    """SET:enable_tracing, in force in the worker without a restart."""
    admin.post(SETTINGS, {"enable_tracing": False})
    ask(("POST", CHAT, BODY))

    assert admin.get(URL).json() == admin.get(ENGINES).json() == []
    assert UsageEvent.objects.count() == 1


def test_r30_settings_reach_a_worker_that_runs_within_a_quarter_of_a_second(admin, key):
    off = {"enable_tracing": False}

    async def change_between():
        async with LaneClient(key) as lane:
            await lane.ask("POST", CHAT, BODY)
            await asyncio.to_thread(with_database, admin.post, SETTINGS, off)
            await asyncio.sleep(0.25)
            await lane.ask("POST", CHAT, BODY)

    asyncio.run(change_between())
    assert len(admin.get(URL).json()) == 1
    assert UsageEvent.objects.count() == 2


def test_what_is_polled_is_never_traced(admin, ask):
    """`/api/operations` and its like are polled every second (surface, section 1)."""
    ask(("GET", "/v1/models", None), ("GET", "/api/operations", None))
    for path in ("/api/operations", URL, "/api/resources", "/healthz"):
        admin.get(path)

    assert admin.get(URL).json() == []


def test_bodies_are_left_out_where_the_journal_has_little_room(tmp_path, stub):
    """They are worth less than usage, which is still written."""
    from inference.tests.rig import Rig
    from usage.journal.writer import Journal
    from usage.metering import Meter
    from usage.traces.terms import TraceTerms

    async def many():
        rig = Rig(tmp_path, stub.url)
        journal = Journal(tmp_path, segment_bytes=200_000, limit_bytes=1_000_000)
        rig.runtime.meter = Meter(journal)
        rig.runtime.meter.traces = TraceTerms(bodies=True)
        body = {"model": "m", "messages": [{"role": "user", "content": "x" * 20_000}]}
        for _ in range(60):
            await rig.ask("chat-completions", body)
        await rig.runtime.finish()
        return len(rig.events()), len(rig.records("t"))

    n_events, n_bodies = asyncio.run(many())
    assert n_events == 60
    assert 10 < n_bodies < 40


async def test_what_goes_wrong_with_a_trace_never_costs_the_answer(tmp_path, stub, monkeypatch):
    from inference.tests.rig import Rig
    from usage.traces.content import BodyKeeper
    from usage.traces.terms import TraceTerms

    monkeypatch.setattr(BodyKeeper, "line", lambda *_: 1 / 0)
    rig = Rig(tmp_path, stub.url)
    rig.runtime.meter.traces = TraceTerms(bodies=True)

    status, _ = await rig.ask("chat-completions", BODY)
    await rig.runtime.finish()

    assert (status, len(rig.events())) == (200, 1)
