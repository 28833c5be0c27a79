"""Gate, limits, forwarding and settlement over the call value, without HTTP on our side."""

import asyncio
from dataclasses import replace

import orjson
import pytest

from core.errors import (
    EngineFailedError,
    EngineRefusedError,
    GatehouseError,
    InvalidRequestError,
    ModelLoadingError,
    ModelNotFoundError,
    NotFoundError,
    QueueFullError,
    UnavailableError,
)
from inference import upstream, upstream_connection
from inference.endpoints import ENDPOINTS
from inference.handlers import infer
from inference.tests.rig import BOB, Rig

HI = [{"role": "user", "content": "hi"}]
BODIES = {
    "chat-completions": {"messages": HI},
    "completions": {"prompt": "hi"},
    "embeddings": {"input": ["a", "b"]},
    "messages": {"messages": HI, "max_tokens": 5},
    "messages-count-tokens": {"messages": HI},
    "responses": {"input": "hi"},
    "tokenize": {"content": "one two three"},
    "detokenize": {"tokens": [1, 2]},
}
COUNTS = {
    "chat-completions": (12, 5),
    "completions": (12, 5),
    "embeddings": (12, 0),
    "messages": (12, 5),
    "messages-count-tokens": (0, 0),
    "responses": (12, 5),
    "tokenize": (0, 0),
    "detokenize": (0, 0),
}
STREAMS = ["chat-completions", "completions", "messages", "responses"]


def body(name, **stub):
    return {"model": "m", **BODIES[name], "stub": {"tokens": 5, **stub}}


@pytest.fixture
async def make_rig(tmp_path):
    made = []

    def make(*args, **target):
        made.append(Rig(tmp_path, *args, **target))
        return made[-1]

    yield make
    for rig in made:
        await rig.runtime.finish()


@pytest.fixture
def rig(make_rig, stub):
    return make_rig(stub.url)


@pytest.mark.parametrize("name", BODIES)
async def test_each_endpoint_answers_and_is_in_the_books_once(rig, name):
    status, raw = await rig.ask(name, body(name))

    assert status == 200
    assert orjson.loads(raw)
    (event,) = rig.events()
    assert (event["p"], event["c"]) == COUNTS[name]
    assert (event["u"], event["ki"], event["m"], event["n"], event["est"]) == (
        "u1",
        "k1",
        "m",
        True,
        False,
    )


@pytest.mark.parametrize("name", STREAMS)
async def test_each_stream_is_settled_before_its_last_byte(rig, name):
    seen = []
    call, answer = rig.call(name, {**body(name), "stream": True})

    class Sent(list):
        def append(self, message):
            if message["type"] == "http.response.body" and not message.get("more_body"):
                seen.append([(e["p"], e["c"]) for e in rig.events()])
            super().append(message)

    rig.sent = Sent()
    await infer(call, answer, rig.runtime, ENDPOINTS[name])

    assert seen == [[(12, 5)]]


async def test_a_local_name_is_what_callers_see_and_the_engine_sees_its_own(make_rig, stub):
    rig = make_rig(stub.url, served_model="engine/own-name")

    _, raw = await rig.ask("chat-completions", body("chat-completions"))

    assert orjson.loads(raw)["model"] == "m"
    assert stub.state()["body"]["model"] == "engine/own-name"


async def test_no_credential_of_the_caller_reaches_the_engine(rig, stub):
    secrets = {
        "authorization": "Bearer canary",
        "x_api_key": "canary",
        "cookie": "session=canary",
        "x_custom": "canary",
    }

    await rig.ask("chat-completions", body("chat-completions"), **secrets)

    assert "canary" not in str(stub.state()["headers"])


@pytest.mark.parametrize(
    ("told", "error", "status"),
    [
        ({"status": 400}, EngineRefusedError, 400),
        ({"status": 422}, EngineRefusedError, 400),
        ({"status": 404}, GatehouseError, 400),
        ({"status": 429}, GatehouseError, 429),
        ({"status": 500}, EngineFailedError, 502),
        ({"status": 401}, EngineFailedError, 502),
        ({"status": 302}, EngineFailedError, 502),
        ({"garbage": True}, EngineFailedError, 502),
    ],
)
async def test_s03_the_engines_errors(rig, told, error, status):
    with pytest.raises(error) as caught:
        await rig.ask("chat-completions", body("chat-completions", message="engine words", **told))

    assert caught.value.http_status == status
    said = "engine words" in caught.value.message
    assert said is (400 <= told.get("status", 500) < 500 and told["status"] != 401)
    (event,) = rig.events()
    assert (event["n"], event["p"], event["c"], event["st"]) == (False, 0, 0, status)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("told", [{"die_after": 3}, {"garbage_after": 3}])
async def test_s18_an_engine_that_dies_in_a_stream_is_billed_for_what_was_delivered(
    rig, name, told
):
    with pytest.raises(EngineFailedError):
        await rig.ask(name, {**body(name, tick=0.01, **told), "stream": True})

    (event,) = rig.events()
    assert event["n"] is True
    assert event["c"] == 3


@pytest.mark.parametrize("name", STREAMS)
async def test_a_hang_up_stops_the_engine_within_a_second_and_bills_what_came(rig, stub, name):
    call, answer = rig.call(name, {**body(name, tokens=1000, tick=0.02), "stream": True})
    task = asyncio.create_task(infer(call, answer, rig.runtime, ENDPOINTS[name]))
    await rig.until(lambda: rig.body().count(b'" token"') >= 4)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await rig.until(lambda: stub.state()["aborted"] == 1, timeout_s=1)
    await rig.until(lambda: len(rig.events()) == 1)
    (event,) = rig.events()
    assert event["n"] is True
    assert 4 <= event["c"] <= 30
    assert event["p"] == 12
    assert event["st"] == 499


async def test_a_hang_up_before_any_output_is_no_request(rig, stub):
    call, answer = rig.call("chat-completions", body("chat-completions", hang=True))
    task = asyncio.create_task(infer(call, answer, rig.runtime, ENDPOINTS["chat-completions"]))
    await rig.until(lambda: stub.state()["active"] == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [(e["n"], e["st"]) for e in rig.events()] == [(False, 499)]
    await rig.until(lambda: stub.state()["aborted"] == 1, timeout_s=1)


async def test_an_engine_that_never_answers_is_504(rig, monkeypatch):
    monkeypatch.setattr(upstream, "FIRST_BYTE_S", 0.2)

    with pytest.raises(GatehouseError) as caught:
        await rig.ask("chat-completions", body("chat-completions", hang=True))

    assert (caught.value.http_status, caught.value.reason) == (504, "engine_timeout")


async def test_a_stream_that_falls_silent_is_cut_off(rig, monkeypatch):
    monkeypatch.setattr(upstream_connection, "BETWEEN_BYTES_S", 0.2)

    with pytest.raises(GatehouseError) as caught:
        await rig.ask(
            "chat-completions", {**body("chat-completions", tokens=3, tick=5), "stream": True}
        )

    assert caught.value.reason == "engine_timeout"
    assert rig.events()[0]["c"] == 1


async def test_an_engine_that_is_not_there_is_502(make_rig):
    rig = make_rig()

    with pytest.raises(EngineFailedError):
        await rig.ask("chat-completions", body("chat-completions"))


async def test_a_connection_that_went_stale_is_replaced(rig, stub):
    await rig.ask("chat-completions", body("chat-completions"))
    (desk,) = rig.runtime.engines._desks.values()
    desk.client._idle[0].transport.abort()

    status, _ = await rig.ask("chat-completions", body("chat-completions"))

    assert status == 200


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ({"state": "loading", "message": "50 %"}, ModelLoadingError),
        ({"state": "failed"}, EngineFailedError),
    ],
)
async def test_a_model_that_is_not_ready_is_503_and_says_why(make_rig, target, error):
    rig = make_rig(**target)

    with pytest.raises(error) as caught:
        await rig.ask("chat-completions", body("chat-completions"))

    assert caught.value.http_status == 503
    if error is ModelLoadingError:
        assert caught.value.extra["loading"]["model"] == "m"
        assert caught.value.retry_after_s


async def test_r34_prefer_wait_holds_the_call_while_the_model_loads(make_rig, stub):
    rig = make_rig(stub.url, state="loading")
    task = asyncio.create_task(
        rig.ask("chat-completions", body("chat-completions"), prefer="wait=5")
    )
    await asyncio.sleep(0.05)
    target = rig.runtime.engines.targets["m"]
    target.state = "ready"
    rig.runtime.engines.replace([target])

    assert (await task)[0] == 200


async def test_a_model_that_was_unloaded_is_asked_for(make_rig):
    rig = make_rig(state="stopped")

    with pytest.raises(ModelLoadingError):
        await rig.ask("chat-completions", body("chat-completions"))

    assert rig.wanted == ["m"]


async def test_too_many_that_wait_are_503_queue_full(make_rig, stub):
    rig = make_rig(stub.url, concurrency=1)  # four may wait behind the one the engine works on
    hanging = []
    for number in range(5):
        call, answer = rig.call("chat-completions", body("chat-completions", hang=True))
        call.principal = replace(BOB, user_id=f"w{number % 2}")
        hanging.append(
            asyncio.create_task(infer(call, answer, rig.runtime, ENDPOINTS["chat-completions"]))
        )
    await asyncio.sleep(0.1)

    with pytest.raises(QueueFullError):
        await rig.ask("chat-completions", body("chat-completions"))
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"{", InvalidRequestError),
        (b"[]", InvalidRequestError),
        (b"", InvalidRequestError),
        ({"model": 5, "messages": HI}, InvalidRequestError),
        ({"model": "nope", "messages": HI}, ModelNotFoundError),
        ({"model": "x" * 300, "messages": HI}, ModelNotFoundError),
        ({"model": "m\0", "messages": HI}, ModelNotFoundError),
        (b'{"model":"m","messages":' + b"[" * 900 + b"]" * 900 + b"}", InvalidRequestError),
        (
            b'{"model":"m","messages":[{"role":"user","content":"x"}],"deep":'
            + b"[" * 500
            + b"]" * 500
            + b"}",
            InvalidRequestError,
        ),
    ],
)
async def test_refusals_are_in_the_books_as_errors(rig, raw, error):
    with pytest.raises(error):
        await rig.ask("chat-completions", raw)

    assert [(e["n"], e["c"]) for e in rig.events()] == [(False, 0)]


async def test_s14_two_places_that_name_different_models_are_400(rig):
    call, answer = rig.call("completions", body("completions"))
    call.kwargs = {"model": "other"}

    with pytest.raises(InvalidRequestError, match="different models"):
        await infer(call, answer, rig.runtime, ENDPOINTS["completions"])


async def test_a_call_without_a_model_takes_the_default(rig):
    status, raw = await rig.ask("chat-completions", {"messages": HI})

    assert status == 200
    assert orjson.loads(raw)["model"] == "m"


async def test_a_journal_that_cannot_be_written_is_503_before_forwarding(rig, stub, monkeypatch):
    from usage.journal.writer import JournalError

    def full(*_arguments):
        raise JournalError("no space")

    monkeypatch.setattr(rig.runtime.meter.journal, "open", full)

    with pytest.raises(UnavailableError) as caught:
        await rig.ask("chat-completions", body("chat-completions"))

    assert caught.value.http_status == 503
    assert stub.state()["received"] == 0


async def test_a_body_over_the_limit_is_413(rig):
    with pytest.raises(GatehouseError) as caught:
        await rig.ask("chat-completions", b" " * 1_000_001)

    assert caught.value.http_status == 413


async def test_a_response_is_kept_for_its_owner_by_the_journal(rig):
    _, raw = await rig.ask("responses", body("responses"))
    answer = orjson.loads(raw)

    (kept,) = rig.records("r")
    assert (kept["id"], kept["u"]) == (answer["id"], "u1")
    assert kept["body"]["response"] == answer
    assert kept["body"]["input"] == [{"role": "user", "content": "hi"}]


async def test_store_false_keeps_nothing(rig):
    await rig.ask("responses", {**body("responses"), "store": False})

    assert rig.records("r") == []


async def test_previous_response_id_puts_the_conversation_in_front(rig, stub):
    output = [{"type": "message", "content": [{"type": "output_text", "text": "hello"}]}]
    rig.stored["resp_1"] = {
        "response": {"output": output},
        "input": [{"role": "user", "content": "hi"}],
    }

    _, raw = await rig.ask(
        "responses", {**body("responses"), "input": "again", "previous_response_id": "resp_1"}
    )

    assert orjson.loads(raw)["previous_response_id"] == "resp_1"
    assert [item["content"] for item in stub.state()["body"]["input"]] == ["hi", "hello", "again"]
    assert "previous_response_id" not in stub.state()["body"]


async def test_another_persons_response_is_not_there(rig):
    with pytest.raises(NotFoundError, match="previous response not found: resp_x"):
        await rig.ask("responses", {**body("responses"), "previous_response_id": "resp_x"})
