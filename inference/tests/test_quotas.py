"""4.4, S-15, S-16, S-51, S-54, W-12: quotas on the way of a request, in every family."""

import asyncio
import fcntl
import time

import orjson
import pytest

from core.errors import QuotaExceededError, UnavailableError
from core.principal import Principal
from inference.endpoints import ENDPOINTS
from inference.handlers import infer
from inference.tests.rig import BOB, BODIES, CHAT, rule, statuses
from usage.quotas.terms import CountersAwayError
from usage.tariff import PriceRow, Rates, Tariff


async def test_q05_q03_three_requests_are_let_through_and_the_fourth_is_told_when(make_limited):
    rig = make_limited(limit := rule(max_requests=3))
    before = time.time()

    assert await statuses(rig, 3) == [200, 200, 200]
    with pytest.raises(QuotaExceededError) as caught:
        await rig.ask("chat-completions", CHAT)

    error = caught.value
    assert error.message == "Request quota exceeded for all models: 3/3 requests in 1h window"
    assert (error.reason, error.type) == ("quota_exceeded", "quota_exceeded")
    told = error.extra["quota"]
    assert {k: told[k] for k in ("id", "limit", "window", "current", "max", "model")} == {
        "id": limit.id,
        "limit": "requests",
        "window": "1h",
        "current": 3,
        "max": 3,
        "model": "",
    }
    opens = before + error.retry_after_s
    assert 3600 - 11 < error.retry_after_s <= 3600 + 11
    standing = rig.counters.standing(limit, time.time())
    assert standing.opens_at == pytest.approx(opens, abs=0.5)
    (*_, refused) = rig.events()
    assert (refused["st"], refused["n"], refused["p"], refused["m"]) == (429, False, 0, "m")


async def test_q04_a_rule_for_one_model_leaves_the_others_alone(make_limited):
    rig = make_limited(rule(max_requests=1, model="other"))

    assert await statuses(rig, 3) == [200] * 3


async def test_q07_s17_failed_requests_count_nothing(make_limited):
    """Neither what an engine refuses nor what a quota does."""
    rig = make_limited(limit := rule(max_requests=1))
    bad = {**CHAT, "stub": {"status": 400}}

    for _ in range(3):
        with pytest.raises(Exception, match="said no"):
            await rig.ask("chat-completions", bad)

    assert rig.counters.standing(limit, time.time()).requests == 0
    assert await statuses(rig, 3) == [200, 429, 429]
    assert rig.counters.standing(limit, time.time()).requests == 1


async def test_s16_zero_refuses_for_ever(make_limited):
    rig = make_limited(rule(max_total_tokens=0))

    with pytest.raises(QuotaExceededError) as caught:
        await rig.ask("chat-completions", CHAT)

    assert (caught.value.retry_after_s, caught.value.extra["quota"]["resets_at"]) == (None, None)


async def test_q02_s51_admins_are_exempt_from_rules_on_users_but_not_on_keys(make_limited):
    rig = make_limited(
        rule(max_requests=0), rule(max_requests=1, key_id="k1", window_s=60), rule(max_cost=0)
    )
    admin = {"features": frozenset({"chat"}), "key_id": "k1", "key_name": "key"}

    rig.principal = Principal("u1", "Bob", "b@x.org", "admin", "apikey", **admin)
    assert await statuses(rig, 2) == [200, 429]
    rig.principal = Principal("u1", "Bob", "b@x.org", "admin", "web")
    assert await statuses(rig, 2) == [200, 200]
    rig.principal = BOB
    assert await statuses(rig, 1) == [429]


@pytest.mark.parametrize("name", BODIES)
async def test_s52_a_stream_is_cut_at_its_limit_with_the_familys_own_end(make_limited, stub, name):
    """The engine would go on for ever; the caller gets a finish reason and the end marker."""
    rig = make_limited(limit := rule(max_total_tokens=40))
    body = {**BODIES[name], "stream": True, "stub": {"tokens": 500, "tick": 0.002}}
    if name in {"chat-completions", "completions"}:
        body["stream_options"] = {"include_usage": True}
    aborted = stub.state()["aborted"]

    status, raw = await rig.ask(name, body)

    assert status == 200
    lines = [line for line in raw.decode().split("\n") if line.startswith("data: ")]
    last = [orjson.loads(line[6:]) for line in lines if line != "data: [DONE]"]
    if name == "messages":
        assert [each["type"] for each in last[-3:]] == [
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
        assert last[-2]["delta"]["stop_reason"] == "max_tokens"
        told = last[-2]["usage"]["input_tokens"] + last[-2]["usage"]["output_tokens"]
    elif name == "responses":
        assert last[-1]["type"] == "response.incomplete"
        assert last[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
        told = last[-1]["response"]["usage"]["total_tokens"]
    else:
        assert last[-2]["choices"][0]["finish_reason"] == "length"
        assert lines[-1] == "data: [DONE]"
        told = last[-1]["usage"]["total_tokens"]
    (event,) = rig.events()
    assert event["p"] + event["c"] == told
    # of a response, the prompt is counted at the end only: until then the estimate stands for it
    assert 40 <= told <= (52 if name == "responses" else 44)
    assert (event["st"], event["n"]) == (200, True)
    assert rig.counters.standing(limit, time.time()).tokens == told
    await rig.until(lambda: stub.state()["aborted"] == aborted + 1, 2)
    with pytest.raises(QuotaExceededError):
        await rig.ask(name, BODIES[name])


async def test_s54_money_is_held_settled_and_cuts_a_stream(make_limited, stub):
    """S-54: a budget in money, at the price in force."""
    tariff = Tariff([PriceRow("m", 0, Rates(1000, 1000, 10_000, 0))])
    rig = make_limited(limit := rule(max_cost=200_000), tariff=tariff)

    await rig.ask("chat-completions", {**CHAT, "stub": {"tokens": 5}})
    assert rig.counters.standing(limit, time.time()).cost == 12 * 1000 + 5 * 10_000
    body = {**CHAT, "stream": True, "stub": {"tokens": 500, "tick": 0.001}}
    await rig.ask("chat-completions", body)

    (_, event) = rig.events()
    spent = rig.counters.standing(limit, time.time()).cost
    assert spent == 62_000 + event["p"] * 1000 + event["c"] * 10_000
    assert 200_000 <= spent < 200_000 + 3 * 10_000
    with pytest.raises(QuotaExceededError, match=r"Cost quota exceeded for all models: 0\.00020"):
        await rig.ask("chat-completions", CHAT)


async def test_max_concurrent_counts_who_is_being_served(make_limited):
    rig = make_limited(limit := rule(max_concurrent=2))
    slow = {**CHAT, "stub": {"tick": 0.3}}

    async def one():
        call, answer = rig.call("chat-completions", slow)
        await infer(call, answer, rig.runtime, ENDPOINTS["chat-completions"])

    running = [asyncio.create_task(one()) for _ in range(2)]
    await asyncio.sleep(0.1)
    with pytest.raises(QuotaExceededError, match="Too many requests at once"):
        await rig.ask("chat-completions", CHAT)
    await asyncio.gather(*running)

    assert await statuses(rig, 1) == [200]
    assert rig.counters.standing(limit, time.time()).concurrent == 0


async def test_a_hang_up_gives_its_hold_back_and_pays_for_what_was_delivered(make_limited):
    rig = make_limited(limit := rule(max_total_tokens=10_000, max_concurrent=1))
    call, answer = rig.call(
        "chat-completions", {**CHAT, "stream": True, "stub": {"tokens": 500, "tick": 0.01}}
    )
    task = asyncio.create_task(infer(call, answer, rig.runtime, ENDPOINTS["chat-completions"]))
    await asyncio.sleep(0.2)

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    (event,) = rig.events()
    standing = rig.counters.standing(limit, time.time())
    assert standing.tokens == event["p"] + event["c"] > 12
    assert (standing.held_tokens, standing.concurrent, standing.requests) == (0, 0, 1)


async def test_openais_headers_tell_what_is_left(make_limited):
    rig = make_limited(rule(max_requests=5, max_total_tokens=1000))

    await rig.ask("chat-completions", {**CHAT, "max_tokens": 10})
    first = dict(rig.sent[0]["headers"])
    await rig.ask("chat-completions", {**CHAT, "max_tokens": 10})
    second = dict(rig.sent[0]["headers"])

    assert (first[b"x-ratelimit-limit-requests"], first[b"x-ratelimit-limit-tokens"]) == (
        b"5",
        b"1000",
    )
    assert first[b"x-ratelimit-remaining-requests"] == b"4"
    assert second[b"x-ratelimit-remaining-requests"] == b"3"
    assert 900 < int(second[b"x-ratelimit-remaining-tokens"]) < 1000
    assert second[b"x-ratelimit-reset-requests"].endswith(b"s")
    assert b"retry-after" not in second


class Away:
    def reserve(self, *_):
        raise CountersAwayError("the store is away")

    def fill(self, *_, **_more):
        return None


@pytest.mark.parametrize("away", ["refuse", "serve"])
async def test_q09_closed_or_open_where_the_counters_are_away(make_limited, away):
    rig = make_limited(rule(max_requests=1), counters=Away(), away=away)

    if away == "serve":
        assert (await rig.ask("chat-completions", CHAT))[0] == 200
        return
    with pytest.raises(UnavailableError):
        await rig.ask("chat-completions", CHAT)
    (event,) = rig.events()
    assert (event["st"], event["n"]) == (503, False)


async def test_counters_held_up_by_another_process_are_waited_for_without_the_loop(make_limited):
    """A process put off its CPU while it counts makes others slow; it neither refuses nor stops them."""
    rig = make_limited(limit := rule(max_requests=5))
    (path,) = rig.counters._folder.glob("*.quota")
    loop = asyncio.get_running_loop()
    with path.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        began = loop.time()
        asked = asyncio.ensure_future(rig.ask("chat-completions", CHAT))
        longest = 0.0
        while (before := loop.time()) < began + 0.4:
            await asyncio.sleep(0.001)
            longest = max(longest, loop.time() - before)
        assert not asked.done()
        fcntl.flock(holder, fcntl.LOCK_UN)

    assert (await asked)[0] == 200
    assert longest < 0.1
    assert rig.counters.standing(limit, time.time()).requests == 1


async def test_what_could_not_be_settled_is_settled_later(make_limited, monkeypatch):
    """A living process's hold does not expire: nobody else would give it back."""
    rig = make_limited(limit := rule(max_total_tokens=1000, max_concurrent=5))
    real = rig.counters.settle

    def busy(*_, **__):
        raise CountersAwayError("busy")

    monkeypatch.setattr(rig.counters, "settle", busy)
    await rig.ask("chat-completions", CHAT)
    await rig.runtime.limiter.pay()
    assert rig.counters.standing(limit, time.time()).concurrent == 1

    monkeypatch.setattr(rig.counters, "settle", real)
    await rig.runtime.limiter.pay()

    standing = rig.counters.standing(limit, time.time())
    assert (standing.concurrent, standing.held_tokens, standing.tokens) == (0, 0, 29)


async def test_nobody_is_let_past_rules_that_were_never_read(make_limited):
    rig = make_limited()
    rig.runtime.limiter.terms = None

    with pytest.raises(UnavailableError):
        await rig.ask("chat-completions", CHAT)


async def test_without_room_in_the_journal_the_reservation_is_given_back(make_limited, monkeypatch):
    from usage.journal.writer import Journal, JournalError

    rig = make_limited(limit := rule(max_requests=1))

    def full(*_):
        raise JournalError("full")

    monkeypatch.setattr(Journal, "open", full)
    with pytest.raises(UnavailableError):
        await rig.ask("chat-completions", CHAT)
    monkeypatch.undo()

    standing = rig.counters.standing(limit, time.time())
    assert (standing.requests, standing.concurrent) == (0, 0)
