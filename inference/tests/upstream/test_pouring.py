"""An answer that goes to its reader in the callback that read it, and what then wakes the reader."""

import asyncio
import gc
import weakref

import pytest

from core.errors import EngineFailedError
from inference.tests.upstream.scripted import CHUNKED, Wired


class Sink:
    """Takes pieces until it has `room` of them; raises at one that says so."""

    def __init__(self, room=100):
        self.room, self.got = room, []

    def __call__(self, piece):
        if piece == b"bad":
            raise ValueError(piece)
        self.got.append(piece)
        return len(self.got) < self.room


def chunk(text):
    return b"%x\r\n%b\r\n" % (len(text), text)


async def pouring(sink, *arrived):
    """(client, response, a task that pours into `sink`), with these chunks there already."""
    client = Wired()
    task = await client.asks()
    client.feed(CHUNKED + b"".join(map(chunk, arrived)))
    response = await task
    poured = asyncio.create_task(response.pour(sink))
    await asyncio.sleep(0)
    return client, response, poured


async def test_what_arrives_is_taken_without_waking_anybody():
    sink = Sink()
    client, _, poured = await pouring(sink, b"a", b"b")
    client.feed(chunk(b"c"), chunk(b"d") + chunk(b"e"))

    assert sink.got == [b"ab", b"c", b"de"]  # no turn of the loop in between
    await asyncio.sleep(0)
    assert not poured.done()
    client.feed(b"0\r\n\r\n")
    assert await poured is False


async def test_the_last_piece_may_come_with_the_end():
    sink = Sink()
    client, _, poured = await pouring(sink)
    client.feed(chunk(b"a") + b"0\r\n\r\n")

    assert await poured is False
    assert sink.got == [b"a"]


async def test_a_sink_that_is_full_is_given_nothing_until_it_is_asked_again():
    sink = Sink(room=2)
    client, response, poured = await pouring(sink)
    client.feed(chunk(b"a"), chunk(b"b"), chunk(b"c"), chunk(b"d"))

    assert await poured is True
    assert sink.got == [b"a", b"b"]
    more = Sink(room=1)
    assert await response.pour(more) is True
    assert more.got == [b"cd"]  # in their order, and none twice
    client.feed(b"0\r\n\r\n")
    assert await response.pour(more) is False


async def test_while_nobody_pours_the_engine_is_held():
    sink = Sink(room=1)
    client, response, poured = await pouring(sink)
    client.feed(chunk(b"a"))
    while not client.made[0].transport.paused:
        client.feed(chunk(b"x" * 1000))

    assert await poured is True
    assert client.made[0].buffered < 70_000
    assert await response.pour(sink) is True
    assert not client.made[0].transport.paused


async def test_what_a_sink_raises_is_for_who_pours():
    client, response, poured = await pouring(Sink())
    client.feed(chunk(b"bad"), chunk(b"after"))

    with pytest.raises(ValueError, match="bad"):
        await poured
    rest = Sink(room=1)
    assert await response.pour(rest) is True
    assert rest.got == [b"after"]


@pytest.mark.parametrize("breaks", [b"no chunk at all\r\n", None], ids=["garbage", "closed"])
async def test_an_answer_that_breaks_is_poured_as_far_as_it_came(breaks):
    sink = Sink()
    client, _, poured = await pouring(sink)
    client.feed(chunk(b"a"), *([breaks] if breaks else []), end=not breaks)

    with pytest.raises(EngineFailedError):
        await poured
    assert sink.got == [b"a"]


async def test_who_hung_up_is_given_nothing_more():
    sink = Sink()
    client, response, poured = await pouring(sink, b"a")
    poured.cancel()
    client.feed(chunk(b"b"))  # before the task has heard of it

    with pytest.raises(asyncio.CancelledError):
        await poured
    client.feed(chunk(b"c"))
    assert sink.got == [b"a"]
    response.close()
    assert client.made[0].transport is None or client.made[0].transport.is_closing()


async def test_what_a_sink_raises_leaves_nothing_for_the_collector():
    """The error holds the frames that it went through, and with them all of a request."""
    gc.collect()
    gc.disable()
    try:
        sink = Sink()
        gone = weakref.ref(sink)
        client, response, poured = await pouring(sink)
        client.feed(chunk(b"bad"))
        await asyncio.wait([poured])
        assert isinstance(poured.exception(), ValueError)
        response.close()
        client.made.clear()
        del sink, poured, response
        await asyncio.sleep(0)
        assert gone() is None
    finally:
        gc.enable()


async def test_much_at_once_is_taken_in_a_turn_of_its_own():
    """Else an engine that has sent megabytes would have them all read before anybody else is served."""
    sink = Sink()
    client, _, poured = await pouring(sink)
    client.feed(chunk(b"x" * 100_000))

    assert sink.got == []
    assert client.made[0].transport.paused
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sink.got == [b"x" * 100_000]
    assert not client.made[0].transport.paused
    client.feed(chunk(b"y"), b"0\r\n\r\n")
    assert await poured is False
    assert sink.got[1:] == [b"y"]
