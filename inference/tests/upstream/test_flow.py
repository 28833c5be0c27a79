"""Back-pressure both ways, time-outs, and how soon a hang-up reaches the engine."""

import asyncio
import gc
import time
import tracemalloc

import pytest

from core.errors import EngineTimeoutError
from inference import upstream, upstream_connection
from inference.tests.upstream.scripted import (
    CHUNKED,
    HELLO,
    OK,
    Wired,
    ask,
    read_request,
    says,
    until_gone,
)
from inference.upstream import NoConnectionInTimeError
from inference.upstream_connection import Connection

MIB = 1024 * 1024


async def until(check):
    async with asyncio.timeout(5):
        while not check():
            await asyncio.sleep(0.002)


class Flood:
    """Sends as much as the client takes; `sent` is how much that was."""

    def __init__(self, piece, total=64 * MIB):
        self.piece, self.total, self.sent = piece, total, 0

    async def talk(self, reader, writer):
        await read_request(reader)
        writer.write(CHUNKED)
        while self.sent < self.total:
            writer.write(self.piece)
            await writer.drain()
            self.sent += len(self.piece)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        await until_gone(reader)


PIECES = {  # and what is held of them: Python's own share makes small ones dear
    "large chunks": (b"10000\r\n" + b"x" * 65536 + b"\r\n", MIB // 2),
    "chunks of two bytes": (b"2\r\nxy\r\n" * 5000, 3 * MIB),
}


@pytest.mark.parametrize(("piece", "bound"), PIECES.values(), ids=PIECES.keys())
async def test_a_reader_that_does_not_read_stops_the_engine(scripted, client, piece, bound):
    flood = Flood(piece)
    scripted.talk = flood.talk
    gc.collect()
    tracemalloc.start()
    try:
        response = await client.request(b"POST", b"/")
        await asyncio.sleep(0.2)
        taken = flood.sent
        await asyncio.sleep(0.1)
        held = sum(
            each.size
            for each in tracemalloc.take_snapshot().statistics("filename")
            if "upstream" in each.traceback[0].filename
        )
    finally:
        tracemalloc.stop()

    assert flood.sent == taken < 16 * MIB  # what the kernel's buffers hold
    assert held < bound
    response.close()


async def test_a_small_piece_counts_for_what_it_costs():
    client, n = Wired(), 0
    task = await client.asks()
    client.feed(CHUNKED)
    while not client.made[0].transport.paused:
        client.feed(b"1\r\nx\r\n")
        n += 1

    assert n < 1100
    response = await task
    assert await response.chunk() == b"x" * n
    assert not client.made[0].transport.paused
    response.close()


async def test_a_slow_reader_gets_all_of_it_in_the_end(scripted, client):
    flood = Flood(PIECES["large chunks"][0], total=8 * MIB)
    scripted.talk = flood.talk
    response = await client.request(b"POST", b"/")
    n = 0
    while piece := await response.chunk():
        n += len(piece)
        await asyncio.sleep(0.001)
    response.close()

    assert n == flood.sent // len(flood.piece) * 65536


async def test_a_slow_reader_gets_all_of_what_ends_with_the_connection(scripted, client):
    scripted.talk = says(OK + b"\r\n" + b"x" * 4 * MIB, then="end")
    response = await client.request(b"POST", b"/")
    n = 0
    while piece := await response.chunk():
        n += len(piece)
        await asyncio.sleep(0.001)
    response.close()

    assert n == 4 * MIB


async def test_a_slow_reader_does_not_hold_up_the_others(scripted, client):
    flood = Flood(PIECES["large chunks"][0])
    scripted.talk = flood.talk
    slow = [await client.request(b"POST", b"/") for _ in range(10)]
    await asyncio.sleep(0.1)
    scripted.talk = says(HELLO)
    began = time.perf_counter()
    for _ in range(20):
        await ask(client)

    assert time.perf_counter() - began < 0.5
    for response in slow:
        response.close()


async def test_a_large_request_waits_for_the_engine_to_take_it(scripted, client):
    body = bytes(range(256)) * 57_344  # 14 MiB
    let_go = asyncio.Event()

    async def talk(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await let_go.wait()
        found = await reader.readexactly(len(body))
        writer.write(HELLO if found == body else OK + b"content-length: 0\r\n\r\n")
        await until_gone(reader)

    scripted.talk = talk
    task = asyncio.create_task(ask(client, body=body))
    await until(lambda: client._open and next(iter(client._open)).is_full)
    await asyncio.sleep(0.05)
    (connection,) = client._open

    assert connection.transport.get_write_buffer_size() < 256 * 1024
    let_go.set()
    assert (await task)[2] == b"hello"
    assert len(client._idle) == 1


async def test_an_answer_before_the_request_was_taken_ends_the_sending(scripted, client):
    """As a 413: it is read, and what is left of the request is never sent on that connection."""

    async def talk(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 x\r\ncontent-length: 5\r\n\r\nlarge")
        await until_gone(reader)

    async def slow(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 413 x\r\ncontent-length: 5\r\n\r\nlarge")
        await asyncio.sleep(1)

    for each in (talk, slow):
        scripted.talk = each
        assert (await ask(client, body=b"x" * 14_000_000))[::2] == (413, b"large")
        if each is slow:
            assert not client._idle


async def test_an_engine_that_takes_no_connection_in_time(scripted, make_client, monkeypatch):
    """It takes the TCP connection and never speaks TLS."""
    monkeypatch.setattr(upstream, "CONNECT_S", 0.1)

    async def talk(reader, writer):
        await until_gone(reader)

    scripted.talk = talk
    client = make_client(scripted.url.replace("http:", "https:"))

    with pytest.raises(NoConnectionInTimeError):
        await ask(client)
    assert client._connecting == 0
    await until(lambda: not scripted._tasks)


DRIPS = {
    "nothing": [],
    "a head without an end": [b"HTTP/1.1 200 OK\r\n"] + [b"x: y\r\n"] * 500,
    "interim answers": [b"HTTP/1.1 102 Processing\r\n\r\n"] * 500,
}


def drips(first, pieces):
    async def talk(reader, writer):
        await read_request(reader)
        writer.write(first)
        for piece in pieces:
            await asyncio.sleep(0.02)
            writer.write(piece)
            await writer.drain()
        await until_gone(reader)

    return talk


@pytest.mark.parametrize("pieces", DRIPS.values(), ids=DRIPS.keys())
async def test_an_engine_that_sends_no_whole_head_in_time(scripted, client, pieces, monkeypatch):
    monkeypatch.setattr(upstream, "FIRST_BYTE_S", 0.15)
    scripted.talk = drips(b"", pieces)

    async with asyncio.timeout(1):
        with pytest.raises(EngineTimeoutError):
            await ask(client)
    await until(lambda: not client._open and not scripted._tasks)


SILENT = {
    "nothing": [],
    "trailers": [b"0\r\n"] + [b"x: y\r\n"] * 500,
    "a chunk's extension": [b"5;a="] + [b"b"] * 500,
}


@pytest.mark.parametrize("pieces", SILENT.values(), ids=SILENT.keys())
async def test_an_engine_that_falls_silent_is_ended(scripted, client, pieces, monkeypatch):
    """Silent is who sends no body; what is around it does not count."""
    monkeypatch.setattr(upstream_connection, "BETWEEN_BYTES_S", 0.15)
    scripted.talk = drips(CHUNKED + b"2\r\nok\r\n", pieces)
    response = await client.request(b"POST", b"/")
    assert await response.chunk() == b"ok"

    async with asyncio.timeout(1):
        with pytest.raises(EngineTimeoutError):
            await response.chunk()
    response.close()
    await until(lambda: not client._open and not scripted._tasks)


async def test_an_engine_that_speaks_now_and_then_is_not_silent(scripted, client, monkeypatch):
    monkeypatch.setattr(upstream_connection, "BETWEEN_BYTES_S", 0.15)
    scripted.talk = drips(CHUNKED, [b"1\r\nx\r\n"] * 15 + [b"0\r\n\r\n"])

    assert (await ask(client))[2] == b"x" * 15


async def test_a_reader_that_is_slow_itself_is_not_the_engines_silence(
    scripted, client, monkeypatch
):
    monkeypatch.setattr(upstream_connection, "BETWEEN_BYTES_S", 0.05)
    scripted.talk = says(CHUNKED + b"2\r\nok\r\n", b"2\r\n!!\r\n0\r\n\r\n", pause_s=0.01)
    response = await client.request(b"POST", b"/")
    await asyncio.sleep(0.2)

    assert await response.read() == b"ok!!"
    response.close()


async def test_an_engine_that_stops_taking_a_request_cannot_have_begun(
    scripted, client, monkeypatch
):
    monkeypatch.setattr(upstream_connection, "BETWEEN_BYTES_S", 0.1)

    async def talk(reader, writer):
        writer.transport.pause_reading()
        await asyncio.sleep(30)

    scripted.talk = talk
    with pytest.raises(NoConnectionInTimeError):
        await ask(client, body=b"x" * 14_000_000)


async def stopped_after(scripted, client, talk, body):
    """Seconds until the engine knew that the caller had gone."""
    ended = asyncio.get_running_loop().create_future()
    is_there = asyncio.Event()

    async def watched(reader, writer):
        await talk(reader, writer)
        is_there.set()
        await until_gone(reader)
        ended.set_result(time.perf_counter())

    scripted.talk = watched

    async def call():
        response = await client.request(b"POST", b"/", body)
        try:
            while await response.chunk():
                pass
        finally:
            response.close()

    task = asyncio.create_task(call())
    await asyncio.wait_for(is_there.wait(), 5)
    await asyncio.sleep(0.02)
    began = time.perf_counter()
    task.cancel()
    took = await asyncio.wait_for(ended, 5) - began
    assert task.cancelled() or task.cancelling()
    assert not client._idle
    return took


async def quickest_of_three(scripted, client, talk, body=b"{}"):
    """Other work on the machine may hold up one of them."""
    return min([await stopped_after(scripted, client, talk, body) for _ in range(3)])


async def silent(reader, writer):
    await read_request(reader)


async def streaming(reader, writer):
    await read_request(reader)
    writer.write(CHUNKED + b"2\r\nok\r\n")


async def taking(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    await reader.read(65536)
    await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("talk", "body"),
    [(silent, b"{}"), (streaming, b"{}"), (taking, b"x" * 14_000_000)],
    ids=["waiting", "streaming", "sending"],
)
async def test_a_hang_up_reaches_the_engine_within_100_ms(scripted, client, talk, body):
    assert await quickest_of_three(scripted, client, talk, body) < 0.1


async def test_a_hang_up_leaves_nothing_for_the_collector(scripted, client):
    scripted.talk = drips(CHUNKED, [])
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            (await client.request(b"POST", b"/")).close()
        await until(lambda: not client._open)
        await asyncio.sleep(0.05)
        held = [each for each in gc.get_objects() if isinstance(each, Connection)]
    finally:
        gc.enable()
    assert held == []


async def test_a_hang_up_while_the_line_is_stood_in_or_connecting_leaves_nothing(
    scripted, client, monkeypatch
):
    monkeypatch.setattr(upstream, "MAX_OPEN", 1)
    scripted.talk = says(HELLO, pause_s=0.1)
    tasks = [asyncio.create_task(ask(client)) for _ in range(3)]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await until(lambda: not client._open)

    assert (client._connecting, len(client._line)) == (0, 0)
    assert (await ask(client))[2] == b"hello"


async def test_the_longest_request_can_be_ended_from_outside(scripted, client):
    scripted.talk = drips(CHUNKED, [])
    response = await client.request(b"POST", b"/")
    await asyncio.sleep(0.05)

    assert client.abort_longest(5.0) is None
    assert client.abort_longest(0.01) > 0.04
    with pytest.raises(EngineTimeoutError, match="longer than is allowed"):
        await response.chunk()
    response.close()
