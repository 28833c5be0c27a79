"""Several engines for one model, through the whole inference path: who gets which, and fail-over."""

import asyncio
import dataclasses
import os
import signal
from collections import Counter

import pytest

from core.errors import EngineFailedError, GatehouseError
from inference.engine_table import EngineTable, Target
from inference.tests.rig import CHAT, Rig
from inference.upstream import EngineClient, NotReachableError
from tests.stub import StubEngine

SLOW = {**CHAT, "stub": {"tokens": 5, "tick": 0.05}}


@pytest.fixture
def stubs():
    made = [StubEngine() for _ in range(3)]
    yield made
    for each in made:
        each.stop()


@pytest.fixture
async def make_rig(tmp_path):
    made = []

    def make(*urls, **fields):
        made.append(Rig(tmp_path, urls[0], addresses=tuple(urls), **fields))
        return made[-1]

    yield make
    for rig in made:
        await rig.runtime.finish()


async def answered(host, port, *, status=503, close=False):
    """A server that says `status` to all, or hangs up without a word."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        if not close:
            writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 2\r\n\r\n{}" % status)
        writer.close()

    return await asyncio.start_server(serve, host, port)


def address(server):
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_fifty_clients_are_spread_evenly_and_lose_nothing_when_a_replica_is_killed(
    make_rig, stubs
):
    """Every request that was not in flight on the killed one is answered."""
    rig = make_rig(*(stub.url for stub in stubs))
    found = Counter()

    async def client(n):
        for _ in range(n):
            try:
                found[(await rig.ask("chat-completions", dict(SLOW)))[0]] += 1
            except GatehouseError as exc:
                found[exc.http_status] += 1

    await asyncio.gather(*(client(4) for _ in range(50)))
    spread = [stub.state()["received"] for stub in stubs]
    assert found == {200: 200}
    assert max(spread) - min(spread) <= 20

    clients = [asyncio.create_task(client(6)) for _ in range(50)]
    await asyncio.sleep(0.12)
    os.kill(stubs[0].process.pid, signal.SIGKILL)
    await asyncio.gather(*clients)

    assert 0 < found[502] <= 25  # a third of 50 is on each, and some were just being sent
    assert found == {200: 500 - found[502], 502: found[502]}
    assert len(rig.events()) == 500


def test_among_equals_engines_take_turns_and_one_that_is_busy_waits():
    async def body():
        table = EngineTable()
        target = Target("m", "m", "http://a", "ready", addresses=("http://a", "http://b"))
        table.replace([target])

        chosen = Counter(table.desk(target).client.address for _ in range(10))
        assert chosen == {"http://a": 5, "http://b": 5}

        busy = table.least_busy(target)
        busy.places.enter()
        others = {table.desk(target) for _ in range(10)}
        assert others == {table.least_busy(target, {busy.client.address})}
        table.close()

    asyncio.run(body())


async def test_a_dead_address_costs_nobody_an_answer_and_is_avoided(make_rig, stubs):
    rig = make_rig("http://127.0.0.1:9", stubs[0].url)

    for _ in range(6):
        assert (await rig.ask("chat-completions", CHAT))[0] == 200

    assert rig.runtime.engines._desks["http://127.0.0.1:9"].is_avoided
    assert [event["st"] for event in rig.events()] == [200] * 6
    assert all(desk.places.held == 0 for desk in rig.runtime.engines._desks.values())


async def test_an_engine_that_hangs_up_at_once_does_not_draw_all_requests(make_rig, stubs):
    """It never has a request, so it would always be the least busy."""
    server = await answered("127.0.0.1", 0, close=True)
    rig = make_rig(address(server), stubs[0].url)
    long = {**CHAT, "stub": {"tokens": 20, "tick": 0.1}}
    tasks = []
    for _ in range(10):
        tasks.append(asyncio.create_task(rig.ask("chat-completions", dict(long))))
        await asyncio.sleep(0.05)

    found = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(each) for each in found].count(EngineFailedError) == 1
    server.close()


@pytest.mark.parametrize("status", [502, 503])
async def test_an_engine_that_serves_nobody_hands_its_request_on(make_rig, stubs, status):
    server = await answered("127.0.0.1", 0, status=status)
    rig = make_rig(address(server), stubs[0].url)

    for _ in range(4):
        assert (await rig.ask("chat-completions", CHAT))[0] == 200

    assert stubs[0].state()["received"] == 4
    assert len(rig.events()) == 4
    server.close()


async def test_where_all_are_down_it_is_one_502_and_one_event(make_rig):
    rig = make_rig("http://127.0.0.1:9", "http://127.0.0.1:10")

    with pytest.raises(EngineFailedError) as caught:
        await rig.ask("chat-completions", CHAT)

    assert caught.value.http_status == 502
    assert [event["st"] for event in rig.events()] == [502]


async def test_a_request_that_an_engine_may_have_worked_on_is_not_sent_again(make_rig, stubs):
    """What killed one engine would kill them all."""
    server = await answered("127.0.0.1", 0, close=True)
    rig = make_rig(address(server), stubs[0].url)
    rig.runtime.engines._turn = 1

    with pytest.raises(EngineFailedError):
        await rig.ask("chat-completions", CHAT)

    assert stubs[0].state()["received"] == 0
    server.close()


@pytest.mark.parametrize("status", [400, 404, 429, 500, 504])
async def test_other_answers_are_the_callers(make_rig, stubs, status):
    server = await answered("127.0.0.1", 0, status=status)
    rig = make_rig(address(server), stubs[0].url)
    rig.runtime.engines._turn = 1

    with pytest.raises(GatehouseError):
        await rig.ask("chat-completions", CHAT)

    assert stubs[0].state()["received"] == 0
    server.close()


async def test_a_stream_that_began_is_never_begun_again(make_rig, stubs):
    rig = make_rig(stubs[0].url, stubs[1].url)
    body = {**CHAT, "stream": True, "stub": {"tokens": 9, "die_after": 3}}

    with pytest.raises(EngineFailedError):
        await rig.ask("chat-completions", body)

    assert sorted(stub.state()["received"] for stub in stubs) == [0, 0, 1]


async def test_who_waits_at_an_engine_that_goes_away_is_served_by_another(make_rig, stubs):
    rig = make_rig(stubs[0].url, stubs[1].url, concurrency=1)
    table = rig.runtime.engines
    slow = {**CHAT, "stub": {"tokens": 5, "tick": 0.3}}
    tasks = [asyncio.create_task(rig.ask("chat-completions", dict(slow))) for _ in range(4)]
    await asyncio.sleep(0.1)
    assert [desk.places.waiting for desk in table._desks.values()] == [1, 1]

    left = table.targets["m"]
    table.replace([Target("m", "m", stubs[1].url, "ready", left.capabilities, concurrency=1)])

    assert [status for status, _ in await asyncio.gather(*tasks)] == [200] * 4


async def test_engines_that_call_the_model_differently_are_asked_by_their_own_names(
    make_rig, stubs
):
    rig = make_rig(stubs[0].url, stubs[1].url, served_model="other", names={stubs[1].url: "m"})

    for _ in range(2):
        await rig.ask("chat-completions", {**CHAT, "stub": {}})

    assert [stub.state()["body"]["model"] for stub in stubs[:2]] == ["other", "m"]


async def test_a_large_request_that_broke_off_before_it_was_sent_cannot_have_begun():
    async def serve(_reader, writer):
        writer.transport.pause_reading()
        await asyncio.sleep(0.2)
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = EngineClient(address(server))

    with pytest.raises(NotReachableError):
        await client.request(b"POST", b"/", b"x" * 14_000_000)

    server.close()
    client.close()


async def test_who_waits_for_a_model_that_then_is_not_loaded_asks_for_it(tmp_path, stubs):
    """As at a server's start: until the engine process has looked, nobody knows that it is not loaded."""
    rig = Rig(tmp_path, stubs[0].url, state="loading")
    table, loading = rig.runtime.engines, rig.runtime.engines.targets["m"]
    task = asyncio.create_task(rig.ask("chat-completions", CHAT, prefer="wait=5"))
    await asyncio.sleep(0.05)
    assert rig.wanted == []

    for state in ("stopped", "stopped", "loading", "ready"):
        table.replace([dataclasses.replace(loading, state=state)])
        await asyncio.sleep(0.02)

    assert (await task)[0] == 200
    assert rig.wanted == ["m"]
    await rig.runtime.finish()


@pytest.mark.parametrize("several", [False, True])
async def test_r33_who_stands_in_line_goes_over_when_all_replicas_were_replaced(
    make_rig, stubs, several
):
    """An upgrade: neither of the addresses that they knew is there any more."""
    rig = make_rig(stubs[0].url, stubs[1].url, concurrency=1)
    hung = {**CHAT, "stub": {"hang": True}}
    tasks = [asyncio.create_task(rig.ask("chat-completions", dict(hung))) for _ in range(2)]
    engines = rig.runtime.engines
    await rig.until(lambda: sum(desk.places.held for desk in engines._desks.values()) == 2)
    late = [asyncio.create_task(rig.ask("chat-completions", dict(CHAT))) for _ in range(2)]
    await rig.until(lambda: sum(desk.places.waiting for desk in engines._desks.values()) == 2)
    other = StubEngine() if several else None
    try:
        urls = (stubs[2].url, *([other.url] if other else ()))
        fields = {"addresses": urls if several else (), "capabilities": frozenset({"chat"})}
        engines.replace([Target("m", "m", urls[0], "ready", **fields)])

        async with asyncio.timeout(5):
            assert [status for status, _ in await asyncio.gather(*late)] == [200, 200]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if other is not None:
            other.stop()
