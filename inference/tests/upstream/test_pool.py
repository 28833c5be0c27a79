"""The pool of one address: what is kept, for how long, how many at most, and what is sent again."""

import asyncio

import pytest

from core.errors import EngineFailedError, EngineTimeoutError
from inference import upstream, upstream_connection
from inference.tests.upstream.scripted import (
    CHUNKED,
    HELLO,
    Wired,
    ask,
    read_request,
    resets,
    says,
    until_gone,
)
from inference.upstream import NoConnectionInTimeError, NotReachableError


def held():
    """A talk that answers each request once it is let go."""
    let_go = asyncio.Event()

    async def talk(reader, writer):
        while True:
            await read_request(reader)
            await let_go.wait()
            writer.write(HELLO)

    return talk, let_go


async def until(check):
    async with asyncio.timeout(5):
        while not check():
            await asyncio.sleep(0.002)


async def test_one_connection_serves_one_after_the_other_and_several_serve_many(scripted, client):
    for _ in range(3):
        await ask(client)
    assert scripted.n_connections == 1

    await asyncio.gather(*(ask(client) for _ in range(5)))
    assert scripted.n_connections == 5


async def test_no_more_are_kept_idle_than_is_said(scripted, client, monkeypatch):
    monkeypatch.setattr(upstream, "MAX_IDLE", 3)

    await asyncio.gather(*(ask(client) for _ in range(8)))

    assert len(client._idle) == 3
    await until(lambda: len(client._open) == 3)


async def test_idle_ones_are_closed_after_a_while_but_not_those_in_use(
    scripted, client, monkeypatch
):
    monkeypatch.setattr(upstream, "IDLE_S", 0.1)
    await asyncio.gather(*(ask(client) for _ in range(4)))

    for _ in range(15):  # one of them has something to do
        await ask(client)
        await asyncio.sleep(0.01)
    await until(lambda: len(client._open) == 1)
    await ask(client)
    assert scripted.n_connections == 4

    await until(lambda: not client._open)
    assert client._sweep is None
    assert not client._idle


async def test_there_are_never_more_than_is_said_and_who_waits_is_served(
    scripted, client, monkeypatch
):
    monkeypatch.setattr(upstream, "MAX_OPEN", 3)
    scripted.talk, let_go = held()
    tasks = [asyncio.create_task(ask(client)) for _ in range(10)]
    await until(lambda: len(scripted.requests) == 3 and len(client._line) == 7)

    let_go.set()

    assert [body for _, _, body in await asyncio.gather(*tasks)] == [b"hello"] * 10
    assert scripted.n_connections == 3


async def test_who_waits_is_served_where_connections_are_not_kept(scripted, client, monkeypatch):
    monkeypatch.setattr(upstream, "MAX_OPEN", 2)
    scripted.talk = says(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
    most = 0

    async def one():
        nonlocal most
        found = await ask(client)
        most = max(most, len(client._open))
        return found[2]

    assert await asyncio.gather(*(one() for _ in range(9))) == [b"ok"] * 9
    assert most <= 2


async def test_who_waits_is_served_in_turn_and_no_newcomer_before(scripted, client, monkeypatch):
    monkeypatch.setattr(upstream, "MAX_OPEN", 1)
    scripted.talk, let_go = held()
    done = []

    async def one(name):
        await ask(client, body=name)
        done.append(name)

    tasks = [asyncio.create_task(one(b"%d" % i)) for i in range(4)]
    await until(lambda: len(client._line) == 3)
    let_go.set()
    await tasks[0]
    tasks.append(asyncio.create_task(one(b"late")))
    await asyncio.gather(*tasks)

    assert done == [b"0", b"1", b"2", b"3", b"late"]


async def test_who_waits_too_long_is_told_and_was_not_sent(scripted, client, monkeypatch):
    monkeypatch.setattr(upstream, "MAX_OPEN", 1)
    monkeypatch.setattr(upstream, "CONNECT_S", 0.1)
    scripted.talk, let_go = held()
    first = asyncio.create_task(ask(client))
    await until(lambda: scripted.requests)

    with pytest.raises(NoConnectionInTimeError):
        await ask(client)

    let_go.set()
    await first
    assert len(scripted.requests) == 1
    assert not client._line


async def test_who_leaves_the_line_as_its_turn_comes_passes_it_on(monkeypatch):
    monkeypatch.setattr(upstream, "MAX_OPEN", 1)
    client = Wired()
    first, second, third = [await client.asks() for _ in range(3)]
    client.feed(HELLO)
    (await first).close()  # calls the second
    second.cancel()
    await asyncio.sleep(0.01)

    client.feed(HELLO)
    assert (await third).status == 200
    assert second.cancelled()


async def test_who_leaves_the_line_early_holds_nobody_up(scripted, client, monkeypatch):
    monkeypatch.setattr(upstream, "MAX_OPEN", 1)
    scripted.talk, let_go = held()
    tasks = [asyncio.create_task(ask(client)) for _ in range(5)]
    await until(lambda: len(client._line) == 4)
    for task in tasks[1:4]:
        task.cancel()
    let_go.set()

    assert (await tasks[4])[2] == b"hello"


async def test_a_connection_that_fails_makes_room_for_who_waits(make_client, monkeypatch):
    monkeypatch.setattr(upstream, "MAX_OPEN", 1)
    client = make_client("http://127.0.0.1:1")

    found = await asyncio.gather(*(ask(client) for _ in range(3)), return_exceptions=True)

    assert [type(each) for each in found] == [NotReachableError] * 3
    assert client._connecting == 0


async def test_closing_a_response_twice_gives_its_connection_back_once(scripted, client):
    """The second time it may be another's already: two requests on it would cross."""
    response = await client.request(b"POST", b"/")
    response.close()
    scripted.talk = held()[0]
    again = await client.request(b"POST", b"/")
    response.close()

    assert client._idle == []
    assert await again.read() == b"hello"
    with pytest.raises(RuntimeError):
        await response.chunk()
    again.close()
    assert len(client._idle) == 1


async def test_an_answer_that_is_whole_but_was_not_read_leaves_nothing_behind(scripted, client):
    body = b"x" * 300_000
    scripted.talk = says(b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n" + body)
    response = await client.request(b"POST", b"/")
    await asyncio.sleep(0.05)
    response.close()

    assert (await ask(client))[2] == body


async def test_closing_the_client_closes_what_is_idle_and_lets_the_rest_end(
    scripted, client, make_client
):
    await asyncio.gather(*(ask(client) for _ in range(3)))
    scripted.talk, let_go = held()
    other = make_client(scripted.url)
    task = asyncio.create_task(ask(other))
    await until(lambda: len(scripted.requests) == 4)
    client.close()
    other.close()
    let_go.set()

    assert (await task)[2] == b"hello"
    await until(lambda: not client._open)


def once(then, *, before=b"", wait_s=0.0):
    """Answers the first request of each connection; at the second, sends `before` and breaks off."""

    async def talk(reader, writer):
        await read_request(reader)
        writer.write(HELLO)
        await read_request(reader)
        await asyncio.sleep(wait_s)
        writer.write(before)
        if then is not None:
            then(writer)
            return
        await writer.drain()
        writer.write_eof()
        await until_gone(reader)

    return talk


@pytest.mark.parametrize("then", [None, resets], ids=["end", "reset"])
async def test_a_kept_connection_that_was_closed_is_replaced_once(scripted, client, then):
    scripted.talk = once(then)

    for _ in range(3):
        assert (await ask(client))[2] == b"hello"

    assert scripted.n_connections == 3
    assert len(scripted.requests) == 5  # two of them twice


async def test_it_is_replaced_by_a_new_one_not_by_another_that_is_kept(scripted, client):
    scripted.talk = once(resets)
    await asyncio.gather(*(ask(client) for _ in range(4)))
    n_before = len(scripted.requests)

    assert (await ask(client))[2] == b"hello"

    assert len(scripted.requests) - n_before == 2
    assert scripted.n_connections == 5


async def breaks(reader, writer):
    await read_request(reader)
    resets(writer)


async def test_once_and_not_twice(scripted, client):
    scripted.talk = once(resets)
    await ask(client)
    scripted.talk = breaks  # of new connections

    with pytest.raises(EngineFailedError) as caught:
        await ask(client)
    assert not isinstance(caught.value, NotReachableError)
    assert len(scripted.requests) == 3
    assert scripted.n_connections == 2


@pytest.mark.parametrize("before", [b"H", HELLO[:-1], b"HTTP/1.1 100 Continue\r\n\r\n", CHUNKED])
async def test_where_a_byte_of_the_answer_was_seen_nothing_is_sent_again(scripted, client, before):
    scripted.talk = once(None, before=before)
    await ask(client)

    with pytest.raises(EngineFailedError):
        await ask(client)
    assert len(scripted.requests) == 2


async def test_what_breaks_late_was_worked_on_and_is_not_sent_again(scripted, client, monkeypatch):
    """Decision 017: what killed one engine would kill the next. An idle connection's end comes at once."""
    monkeypatch.setattr(upstream_connection, "STALE_S", 0.05)
    scripted.talk = once(resets, wait_s=0.15)
    await ask(client)

    with pytest.raises(EngineFailedError) as caught:
        await ask(client)
    assert not isinstance(caught.value, NotReachableError)
    assert len(scripted.requests) == 2


async def test_a_new_connection_that_breaks_is_not_replaced(scripted, client):
    scripted.talk = breaks
    with pytest.raises(EngineFailedError) as caught:
        await ask(client)
    assert not isinstance(caught.value, NotReachableError)
    assert len(scripted.requests) == 1


@pytest.mark.parametrize(
    ("error", "known"),
    [(NotReachableError, EngineFailedError), (NoConnectionInTimeError, EngineTimeoutError)],
)
async def test_an_engine_that_is_gone_when_asked_again_may_have_begun(
    scripted, client, error, known, monkeypatch
):
    """So the error is none of those after which the request goes to another engine."""
    scripted.talk = once(resets)
    await ask(client)

    async def refused():
        raise error

    monkeypatch.setattr(client, "_connect", refused)
    with pytest.raises(known) as caught:
        await ask(client)
    assert type(caught.value) is known


async def test_a_kept_connection_that_took_only_a_part_of_a_large_request_cannot_have_begun(
    scripted, client, monkeypatch
):
    async def talk(reader, writer):
        await read_request(reader)
        writer.write(HELLO)
        await reader.read(1000)
        writer.transport.pause_reading()
        await asyncio.sleep(0.05)
        resets(writer)

    scripted.talk = talk
    await ask(client)

    async def refused():
        raise NotReachableError

    monkeypatch.setattr(client, "_connect", refused)
    with pytest.raises(NotReachableError):
        await ask(client, body=b"x" * 14_000_000)
