"""A server that breaks off, babbles, smuggles or never ends: an error in time, and nothing kept."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import EngineFailedError, GatehouseError
from inference import upstream
from inference.tests.upstream.scripted import (
    CHUNKED,
    HELLO,
    JSON,
    OK,
    Wired,
    ask,
    cut,
    read_request,
    says,
    until_gone,
    whole,
)

WHOLE_CHUNKED = CHUNKED + b"5\r\nhello\r\n5;a=b\r\nworld\r\n0\r\nx-sum: 1\r\n\r\n"
AFTER_INTERIM = b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + HELLO
CHUNKS = b"transfer-encoding: chunked\r\n"
END = b"0\r\n\r\n"

REFUSED = {
    "length and chunked": OK + b"content-length: 5\r\n" + CHUNKS + b"\r\n" + END,
    "chunked and length": OK + CHUNKS + b"content-length: 5\r\n\r\n" + END,
    "two lengths": OK + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
    "the same length twice": OK + b"content-length: 5\r\ncontent-length: 5\r\n\r\nhello",
    "a list of lengths": OK + b"content-length: 5, 5\r\n\r\nhello",
    "a signed length": OK + b"content-length: +5\r\n\r\nhello",
    "a negative length": OK + b"content-length: -5\r\n\r\nhello",
    "a length in base 16": OK + b"content-length: 0x5\r\n\r\nhello",
    "a length of nothing": OK + b"content-length:\r\n\r\nhello",
    "a length in two words": OK + b"content-length: 5 5\r\n\r\nhello",
    "a length past 64 bits": OK + b"content-length: 99999999999999999999\r\n\r\nhello",
    "NUL in a length": OK + b"content-length: 5\0\r\n\r\nhello",
    "space before a colon": OK + b"content-length : 5\r\n\r\nhello",
    "a folded line": OK + b"x: a\r\n b\r\ncontent-length: 0\r\n\r\n",
    "a folded length": OK + b"content-length:\r\n 5\r\n\r\nhello",
    "a folded encoding": OK + b"transfer-encoding:\r\n chunked\r\n\r\n" + END,
    "bare LF in the head": OK + b"x: a\ncontent-length: 0\r\n\r\n",
    "bare LF after the status": b"HTTP/1.1 200 OK\ncontent-length: 0\r\n\r\n",
    "bare LF at its end": OK + b"content-length: 0\r\n\n",
    "bare CR": OK + b"x: a\rb\r\ncontent-length: 0\r\n\r\n",
    "NUL in a value": OK + b"x: a\0b\r\ncontent-length: 0\r\n\r\n",
    "NUL in a name": OK + b"x\0: a\r\ncontent-length: 0\r\n\r\n",
    "NUL in the reason": b"HTTP/1.1 200 O\0K\r\ncontent-length: 0\r\n\r\n",
    "no colon": OK + b"x\r\ncontent-length: 0\r\n\r\n",
    "no name": OK + b": x\r\ncontent-length: 0\r\n\r\n",
    "chunked twice": OK + CHUNKS + CHUNKS + b"\r\n" + END,
    "an unknown encoding": OK + b"transfer-encoding: xchunked\r\n\r\n" + END,
    "gzip on the way": OK + b"transfer-encoding: gzip, chunked\r\n\r\n" + END,
    "chunked not last": OK + b"transfer-encoding: chunked, gzip\r\n\r\nabc",
    "gzip, which nobody asked for": OK + b"content-encoding: gzip\r\ncontent-length: 1\r\n\r\nx",
    "LF after a chunk's size": CHUNKED + b"5\nhello\r\n" + END,
    "LF after a chunk": CHUNKED + b"5\r\nhello\n" + END,
    "a chunk longer than said": CHUNKED + b"5\r\nhello!\r\n" + END,
    "no size": CHUNKED + b"\r\nhello\r\n" + END,
    "0x before a size": CHUNKED + b"0x5\r\nhello\r\n" + END,
    "a negative size": CHUNKED + b"-5\r\nhello\r\n" + END,
    "a size past 64 bits": CHUNKED + b"fffffffffffffffff\r\nhello",
    "space after a size": CHUNKED + b"5 \r\nhello\r\n" + END,
    "a line in an extension": CHUNKED + b'5;a="\r\n"\r\nhello\r\n' + END,
    "a length in a trailer": CHUNKED + b"0\r\ncontent-length: 5\r\n\r\n",
    "an interim answer with a body": b"HTTP/1.1 100 x\r\ncontent-length: 5\r\n\r\nhello" + HELLO,
    "an interim answer in chunks": b"HTTP/1.1 103 x\r\n" + CHUNKS + b"\r\n" + END + HELLO,
    "an interim answer with a length": b"HTTP/1.1 100 x\r\ncontent-length: 5\r\n\r\n" + HELLO,
    "an interim answer of chunks": b"HTTP/1.1 103 x\r\n" + CHUNKS + b"\r\n" + HELLO,
    "another protocol": b"HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\nxxx",
    "101 alone": b"HTTP/1.1 101 x\r\n\r\n" + HELLO,
    "status 99": b"HTTP/1.1 099 x\r\n\r\n" + HELLO,
    "status 1000": b"HTTP/1.1 1000 x\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\ncontent-length: 0\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00",
    "a request": b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    "words": b"I am an engine, and this is what I say.\r\n\r\n",
    "a second answer": HELLO + HELLO,
    "the beginning of one": HELLO + b"H",
    "a body longer than said": HELLO + b"!",
    "a second answer after chunks": WHOLE_CHUNKED + HELLO,
    "more after the last": OK + b"connection: close\r\ncontent-length: 5\r\n\r\nhello!",
    "a body of 204": b"HTTP/1.1 204 x\r\ncontent-length: 5\r\n\r\nhello",
    "a body of 304": b"HTTP/1.1 304 x\r\ncontent-length: 5\r\n\r\nhello",
}


@pytest.mark.asyncio(loop_factories=["uvloop"])  # without a socket
@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
async def test_an_answer_that_breaks_a_rule_is_refused_and_its_connection_not_used_again(raw):
    client = Wired()
    task = await client.asks()
    client.feed(raw)

    with pytest.raises(EngineFailedError):
        await whole(task)
    assert client.made[0].transport is None
    assert not client._idle
    assert not client._open


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(REFUSED)), st.lists(st.integers(0, 300), max_size=6))
def test_however_it_is_cut_up_no_more_comes_of_it_than_one_answer(run, name, at):
    """Excess that comes late may come after the answer was read; the connection is gone all the same."""

    async def play():
        client = Wired()
        task = await client.asks()
        client.feed(*cut(REFUSED[name], at))
        client.feed(end=True)
        try:
            _, _, body = await asyncio.wait_for(whole(task), 5)
        except GatehouseError:
            body = b""
        assert body in (b"", b"hello", b"helloworld")
        assert not client._idle
        assert not client._open

    run(play())


@pytest.mark.asyncio(loop_factories=["uvloop"])  # without a socket
@pytest.mark.parametrize("only_head", [b"hello", b"\r\n", HELLO])
async def test_bytes_after_the_answer_to_head_are_refused(only_head):
    client = Wired()
    task = await client.asks(b"HEAD")
    client.feed(OK + b"content-length: 5\r\n\r\n" + only_head)

    with pytest.raises(EngineFailedError):
        await whole(task)
    assert not client._idle


async def test_a_second_answer_that_comes_late_is_nobodys(scripted, client):
    async def talk(reader, writer):
        await read_request(reader)
        writer.write(HELLO)
        await asyncio.sleep(0.02)
        writer.write(JSON + b"content-length: 6\r\n\r\nstolen")
        await until_gone(reader)

    scripted.talk = talk
    assert (await ask(client))[2] == b"hello"
    await asyncio.sleep(0.05)
    assert not client._idle

    assert (await ask(client))[2] == b"hello"
    assert scripted.n_connections == 2


async def test_blank_lines_after_an_answer_are_part_of_nothing(scripted, client):
    """Old servers send one; whether it ends the connection is a matter of when it comes."""
    scripted.talk = says(HELLO + b"\r\n")

    for _ in range(3):
        assert (await ask(client))[2] == b"hello"


async def test_a_server_that_speaks_first_is_not_listened_to(scripted, client):
    async def talk(reader, writer):
        writer.write(HELLO)
        await until_gone(reader)

    scripted.talk = talk
    made = await client._connect()
    await asyncio.sleep(0.02)

    assert made.transport is None


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.one_of(st.binary(max_size=50), st.sampled_from([OK, HELLO, CHUNKED, END, b"\r\n"])))
)
def test_whatever_comes_is_an_answer_or_an_error_of_ours(run, pieces):
    async def play():
        client = Wired()
        task = await client.asks()
        client.feed(*pieces, end=True)
        try:
            status, _, _ = await asyncio.wait_for(whole(task), 5)
        except EngineFailedError:
            pass
        else:
            assert 200 <= status <= 999
        assert not client._idle

    run(play())


@pytest.mark.parametrize("then", ["end", "reset"])
@pytest.mark.parametrize(
    "raw", [HELLO, WHOLE_CHUNKED, AFTER_INTERIM], ids=["length", "chunked", "1xx"]
)
async def test_an_answer_that_ends_early_at_any_byte_is_an_error(scripted, client, raw, then):
    for n in range(len(raw)):
        scripted.talk = says(raw[:n], then=then)
        with pytest.raises(EngineFailedError):
            await ask(client)
    assert scripted.n_connections == len(raw)
    assert not client._idle
    assert not client._open


async def test_what_came_before_the_break_is_read_first(scripted, client):
    scripted.talk = says(CHUNKED + b"5\r\nhello\r\n5\r\nwor", then="end")

    response = await client.request(b"POST", b"/")
    found = b""
    while found != b"hellowor":
        found += await response.chunk()
    with pytest.raises(EngineFailedError):
        await response.chunk()
    response.close()


def endless(start, piece):
    """Says `start`, then `piece` for ever, or until the client has had enough."""

    async def talk(reader, writer):
        await read_request(reader)
        writer.write(start)
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    return talk


FOREVER = {
    "a status line": (b"HTTP/1.1 200 ", b"O" * 1000),
    "a head": (OK, b"x: y\r\n" * 10),
    "one header's name": (OK, b"x" * 1000),
    "one header's value": (OK + b"x: ", b"y" * 1000),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 10),
    "trailers": (CHUNKED + b"0\r\n", b"x: y\r\n" * 10),
    "one trailer": (CHUNKED + b"0\r\nx: ", b"y" * 1000),
    "a chunk's size": (CHUNKED, b"0" * 1000),
    "a chunk's extension": (CHUNKED + b"5;a=", b"b" * 1000),
    "blank lines": (b"", b"\r\n" * 500),
}


@pytest.mark.parametrize(("start", "piece"), FOREVER.values(), ids=FOREVER.keys())
async def test_what_never_ends_is_ended(scripted, client, start, piece):
    scripted.talk = endless(start, piece)

    async with asyncio.timeout(5):
        with pytest.raises(EngineFailedError, match="could not be read"):
            await ask(client)
    assert not client._open or all(each.transport.is_closing() for each in client._open)


@pytest.mark.asyncio(loop_factories=["uvloop"])  # without a socket
@pytest.mark.parametrize(("n", "is_read"), [(256, True), (257, False)])
@pytest.mark.parametrize("where", ["head", "trailers"])
async def test_there_are_at_most_256_headers(n, is_read, where):
    client = Wired()
    task = await client.asks()
    more = b"x: y\r\n" * (n - (1 if where == "head" else 2))
    length = b"content-length: 2\r\n\r\nok"
    client.feed(
        OK + more + length if where == "head" else CHUNKED + b"2\r\nok\r\n0\r\n" + more + b"\r\n"
    )

    if is_read:
        assert (await whole(task))[2] == b"ok"
        return
    with pytest.raises(EngineFailedError):
        await whole(task)


async def test_a_plain_answer_larger_than_is_read_is_ended(scripted, client, monkeypatch):
    monkeypatch.setattr(upstream, "MAX_PLAIN_BYTES", 1024 * 1024)
    scripted.talk = endless(OK + b"\r\n", b"x" * 65536)

    with pytest.raises(EngineFailedError, match="too large"):
        await ask(client)
    assert not client._idle
