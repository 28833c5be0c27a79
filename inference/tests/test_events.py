"""5.1, 5.2, W-11: what the meter writes of each request, however it ends, and where it writes nothing."""

import asyncio
from contextlib import suppress

import pytest

from core.errors import GatehouseError, ModelNotAllowedError, ModelNotFoundError, UnavailableError
from core.principal import Principal
from inference.endpoints import ENDPOINTS
from inference.handlers import infer
from inference.tests.rig import PATHS, Rig
from inference.tests.test_handlers import BODIES, COUNTS, STREAMS, body
from usage.journal.segments import read_from, segments
from usage.journal.writer import Journal, JournalError
from usage.metering import Meter

CHAT = "chat-completions"


@pytest.fixture
async def rig(tmp_path, stub):
    made = Rig(tmp_path, stub.url)
    yield made
    await made.runtime.finish()


async def test_u01_an_event_has_every_field_that_means_something_here(rig):
    told = {"tokens": 20, "tick": 0.01}
    await rig.ask(CHAT, {**body(CHAT, **told), "stream": True}, x_correlation_id="mine-1")

    (event,) = rig.events()
    assert (event["u"], event["un"], event["s"], event["ki"], event["kn"]) == (
        "u1",
        "Bob",
        "apikey",
        "k1",
        "key",
    )
    assert (event["m"], event["sm"], event["e"]) == ("m", "m", PATHS[CHAT])
    assert (event["st"], event["n"], event["est"], event["sse"]) == (200, True, False, True)
    assert event["cid"] == "mine-1"
    assert 0 <= event["tt"] < event["d"]
    assert event["d"] >= 190


async def test_u01_time_in_line_is_told_apart(tmp_path, stub):
    rig = Rig(tmp_path, stub.url, concurrency=1)
    try:
        slow = body(CHAT, tick=0.2)
        calls = [rig.call(CHAT, slow) for _ in range(2)]
        await asyncio.gather(*(infer(*call, rig.runtime, ENDPOINTS[CHAT]) for call in calls))
    finally:
        await rig.runtime.finish()

    first, second = sorted(rig.events(), key=lambda event: event["q"])
    assert first["q"] == 0
    assert 150 <= second["q"] <= second["d"] - 150


async def test_u01_cached_prompt_tokens_are_counted(rig):
    await rig.ask(CHAT, body(CHAT, cached=8))

    (event,) = rig.events()
    assert (event["p"], event["cp"]) == (12, 8)


async def test_u08_requested_and_served_model_are_both_kept(tmp_path, stub):
    rig = Rig(tmp_path, stub.url, served_model="org/real-name")
    await rig.ask(CHAT, body(CHAT))
    await rig.runtime.finish()

    (event,) = rig.events()
    assert (event["m"], event["sm"]) == ("m", "org/real-name")


@pytest.mark.parametrize("name", BODIES)
async def test_u03_w11_every_endpoint_leaves_a_record_with_its_tokens(rig, name):
    """Embeddings and streamed responses, too, which LocalAI counts as nothing."""
    await rig.ask(name, body(name))
    if name in STREAMS:
        await rig.ask(name, {**body(name), "stream": True})

    events = rig.events()
    assert [(e["p"], e["c"], e["n"]) for e in events] == [(*COUNTS[name], True)] * len(events)
    assert len(events) == (2 if name in STREAMS else 1)


async def test_u06_s04_an_answer_without_usage_is_one_request_of_no_tokens_and_is_told(rig):
    told = []
    rig.runtime.meter.unrecorded = told.append

    await rig.ask(CHAT, body(CHAT, no_usage=True))

    (event,) = rig.events()
    assert (event["p"], event["c"], event["n"], told) == (0, 0, True, ["no_usage"])


@pytest.mark.parametrize(
    ("source", "key_id"), [("web", None), ("apikey", "k9"), ("legacy", None), ("oidc", None)]
)
async def test_u07_the_source_is_how_the_caller_came(rig, source, key_id):
    rig.principal = Principal(
        "u1", "Bob", "b@x.org", "user", source, frozenset({"chat"}), key_id, key_id and "k"
    )
    await rig.ask(CHAT, body(CHAT))

    (event,) = rig.events()
    assert (event["s"], event["ki"]) == (source, key_id)


async def test_u04_s49_what_fails_before_output_is_an_error_and_bills_nothing(rig):
    with pytest.raises(GatehouseError):
        await rig.ask(CHAT, body(CHAT, status=500))

    (event,) = rig.events()
    assert (event["st"], event["n"], event["p"], event["c"]) == (502, False, 0, 0)


async def test_s49_any_output_is_one_request_however_it_ends(rig):
    await_error = rig.ask(CHAT, {**body(CHAT, tokens=20, die_after=3), "stream": True})
    with pytest.raises(GatehouseError):
        await await_error

    (event,) = rig.events()
    assert (event["st"], event["n"], event["c"]) == (502, True, 3)


@pytest.mark.parametrize("name", ["chat-completions", "completions"])
async def test_u06_s52_an_engine_that_counts_only_at_the_end_is_billed_for_what_was_streamed(
    rig, name
):
    """Its pieces are counted, or by its tokenizer after a hang-up, and the event says so."""
    told = {"tokens": 400, "tick": 0.01, "silent": True}
    call, answer = rig.call(name, {**body(name, **told), "stream": True})
    task = asyncio.create_task(infer(call, answer, rig.runtime, ENDPOINTS[name]))
    await asyncio.sleep(0.3)

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await rig.until(rig.events)

    (event,) = rig.events()
    assert (event["n"], event["est"]) == (True, True)
    assert 10 <= event["c"] <= 40


async def test_a_full_journal_does_not_hide_why_a_request_is_refused(rig, monkeypatch):
    def full(*_):
        raise JournalError("full")

    monkeypatch.setattr(Journal, "end", full)
    with pytest.raises(ModelNotFoundError):
        await rig.ask(CHAT, {**BODIES[CHAT], "model": "nope"})


async def test_a_name_that_is_no_model_makes_no_name_in_the_books(rig):
    """Callers may invent as many as they like; the event keeps it, the dictionary does not."""
    with pytest.raises(ModelNotFoundError):
        await rig.ask(CHAT, {**BODIES[CHAT], "model": "invented-7"})
    rig.principal = Principal(
        "u1", "Bob", "b@x.org", "user", "web", frozenset({"chat"}), models=frozenset({"x"})
    )
    with pytest.raises(ModelNotAllowedError):
        await rig.ask(CHAT, {**BODIES[CHAT], "model": "m"})

    unknown, refused = rig.events()
    assert (unknown["m"], unknown["um"], unknown["st"]) == ("", "invented-7", 404)
    assert (refused["m"], refused.get("um"), refused["st"]) == ("m", None, 403)


async def test_a_key_in_the_place_of_a_models_name_is_not_in_the_books(rig):
    """By mistake, or by a client that sends the key as the model (surface, section 0)."""
    key = "lai-" + "0123abcd" * 8
    for headers, name in (({}, key), ({"authorization": "Bearer my-legacy-key"}, "my-legacy-key")):
        with pytest.raises(ModelNotFoundError):
            await rig.ask(CHAT, {**BODIES[CHAT], "model": name}, **headers)

    assert [event["um"] for event in rig.events()] == ["lai-0123abcd…", "[redacted]"]


@pytest.mark.parametrize("model", ["m", "v1", "chat", "engines", "a/b", "v1/engines/x"])
async def test_a_models_name_in_the_path_makes_none_either(rig, model):
    call, answer = rig.call(CHAT, {**BODIES[CHAT], "model": model})
    call.path, call.kwargs = f"/v1/engines/{model}/chat/completions", {"model": model}

    with suppress(ModelNotFoundError):
        await infer(call, answer, rig.runtime, ENDPOINTS[CHAT])

    assert rig.events()[0]["e"] == "/v1/engines/:model/chat/completions"


async def test_u18_with_statistics_off_nothing_is_written(rig):
    rig.runtime.meter = Meter(rig.runtime.meter.journal, records=False)

    status, _ = await rig.ask(CHAT, body(CHAT))
    with pytest.raises(GatehouseError):
        await rig.ask(CHAT, body(CHAT, status=500))

    assert (status, segments(rig.folder)) == (200, [])


async def test_s53_a_full_journal_is_passed_by_where_the_operator_says_so(rig, monkeypatch):
    told = []
    journal = rig.runtime.meter.journal

    def full(*_):
        raise JournalError("full")

    monkeypatch.setattr(Journal, "open", full)
    with pytest.raises(UnavailableError) as caught:
        await rig.ask(CHAT, body(CHAT))
    rig.runtime.meter = Meter(journal, serve_when_full=True, unrecorded=told.append)
    status, _ = await rig.ask(CHAT, body(CHAT))

    assert caught.value.retry_after_s == 10
    assert (status, told) == (200, ["journal_full"])


def test_s53_the_journal_has_a_bound(tmp_path):
    journal = Journal(tmp_path, segment_bytes=60_000, limit_bytes=300_000)
    written = 0

    def fill():
        nonlocal written
        while written < 2000:
            journal.write({"k": "f", "id": str(written), "fill": "x" * 200})
            written += 1

    with pytest.raises(JournalError):
        fill()

    assert 100 < written < 300
    assert sum(path.stat().st_size for path in segments(tmp_path)) <= 310_000
    for path in segments(tmp_path)[:-1]:  # drained
        path.unlink()
    journal.write({"k": "f", "id": "again"})
    journal.close()


async def test_with_sync_an_answer_ends_after_the_disk_has_it(tmp_path, stub, monkeypatch):
    """LOCALAI_USAGE_SYNC: one flush serves all that wait for it."""
    import os

    rig = Rig(tmp_path, stub.url)
    rig.runtime.meter = Meter(Journal(tmp_path, sync=True))
    flushed, real = [], os.fsync

    def seen(fd):
        finals = sum(
            r["k"] == "f" for p in segments(tmp_path) for r in read_from(p, 0, limit=99)[0]
        )
        flushed.append(finals)
        real(fd)

    monkeypatch.setattr(os, "fsync", seen)
    calls = [rig.call(CHAT, body(CHAT)) for _ in range(8)]
    await asyncio.gather(*(infer(*call, rig.runtime, ENDPOINTS[CHAT]) for call in calls))
    await rig.runtime.finish()

    assert flushed[-1] == 8
    assert len(flushed) < 8 + 2
