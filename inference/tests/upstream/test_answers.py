"""Valid answers: framed in every way, cut anywhere, always the same status, content type and body."""

import asyncio

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.errors import EngineFailedError
from inference.tests.upstream.scripted import (
    CHUNKED,
    HELLO,
    JSON,
    OK,
    Wired,
    ask,
    cut,
    resets,
    says,
    whole,
)

ZEROS = JSON + b"content-length: 9\r\n\r\n" + bytes(9)
TYPES = [b"application/json", b"text/event-stream; charset=utf-8", b"text/plain"]
NO_BODY = [204, 304]
INTERIM = [b"100 Continue", b"102 Processing", b"103 Early Hints\r\nLink: </a>; rel=x"]
NAMES = [b"Date", b"server", b"X-A", b"x-empty"]


@st.composite
def answers(draw):
    """(bytes on the wire, status, content type, body, how it is framed)."""
    status = draw(st.sampled_from([200, 200, 200, 201, 400, 404, 429, 500, 503, *NO_BODY]))
    kind = draw(st.sampled_from(TYPES))
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    pieces = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=5))
    interim = draw(st.lists(st.sampled_from(INTERIM), max_size=2))
    extra = draw(st.lists(st.sampled_from(NAMES), max_size=3))
    reason = draw(st.sampled_from([b" OK", b" Not at all", b" ", b""]))
    before = b"".join(b"HTTP/1.1 %b\r\n\r\n" % each for each in interim)
    lines = [b"HTTP/1.1 %d%b" % (status, reason), b"content-TYPE:%b" % kind]
    lines += [b"%b: %b" % (name, b"" if name == b"x-empty" else b"some value") for name in extra]
    body = b"".join(pieces)
    if status in NO_BODY:
        framing, body = "none", b""
        sent = b""
    elif framing == "length":
        lines.append(b"Content-Length:  %d" % len(body))
        sent = body
    elif framing == "chunked":
        lines.append(b"Transfer-Encoding: chunked")
        extension = draw(st.sampled_from([b"", b";a", b";a=b", b';a="b c"']))
        sent = b"".join(b"%X%b\r\n%b\r\n" % (len(p), extension, p) for p in pieces)
        trailer = draw(st.sampled_from([b"", b"X-Sum: 1\r\n", b"Content-Type: other\r\n"]))
        sent += draw(st.sampled_from([b"0", b"000"])) + b"\r\n" + trailer + b"\r\n"
    else:
        sent = body
    return before + b"\r\n".join(lines) + b"\r\n\r\n" + sent, status, kind, body, framing


places = st.lists(st.integers(0, 2000), max_size=12)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(answers(), places), min_size=1, max_size=3))
@example([((HELLO, 200, b"application/json", b"hello", "length"), list(range(200)))] * 2)
@example([((ZEROS, 200, b"application/json", bytes(9), "length"), list(range(60, 80)))] * 2)
@example([((ZEROS, 200, b"application/json", bytes(9), "length"), [])] * 2)
def test_any_cutting_up_of_any_answers_gives_the_same(run, sent):
    """One after the other; on one connection as long as the framing lets it be kept."""

    async def play():
        client = Wired()
        n_ended = 0
        for (raw, status, kind, body, framing), at in sent:
            task = await client.asks()
            client.feed(*cut(raw, at), end=framing == "close")
            n_ended += framing == "close"

            assert await asyncio.wait_for(whole(task), 5) == (status, kind, body)
            assert len(client._idle) == (framing != "close")
        assert len(client.made) == n_ended + (sent[-1][0][4] != "close")

    run(play())


@settings(max_examples=150, deadline=None)
@given(answers(), places)
def test_what_is_read_as_it_comes_is_the_same_as_what_is_read_at_the_end(run, answer, at):
    async def play():
        raw, status, _, body, framing = answer
        client, found, response = Wired(), b"", None
        task = await client.asks()
        for piece in cut(raw, at):
            client.feed(piece)
            await asyncio.sleep(0)
            if task.done() and response is None:
                response = task.result()
            while response is not None and client.made[0].chunks:
                found += await response.chunk()
        client.feed(end=framing == "close")
        response = response or await task
        while piece := await response.chunk():
            found += piece
        response.close()

        assert (response.status, found) == (status, body)

    run(play())


@pytest.mark.parametrize("step", [1, 2, 7])
@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (HELLO, b"hello"),
        (CHUNKED + b"5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\n\r\n", b"hello!"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + HELLO, b"hello"),
    ],
)
async def test_a_drip_fed_answer_is_read(scripted, client, raw, body, step):
    scripted.talk = says(*(raw[i : i + step] for i in range(0, len(raw), step)), pause_s=0.0003)

    for _ in range(2):
        assert (await ask(client))[::2] == (200, body)
    assert scripted.n_connections == 1


@pytest.mark.parametrize("status", NO_BODY)
@pytest.mark.parametrize("header", [b"", b"content-length: 0\r\n", b"content-length: 5\r\n"])
async def test_204_and_304_have_no_body_whatever_they_say_of_its_length(
    scripted, client, status, header
):
    scripted.talk = says(b"HTTP/1.1 %d x\r\n%b\r\n" % (status, header))

    for _ in range(2):
        assert await ask(client) == (status, b"", b"")
    assert scripted.n_connections == 1


@pytest.mark.parametrize(
    "header",
    [b"content-length: 5\r\n", b"content-length: 0\r\n", b"transfer-encoding: chunked\r\n"],
)
async def test_the_answer_to_head_has_no_body(scripted, client, header):
    scripted.talk = says(OK + header + b"\r\n")

    for _ in range(2):
        assert await ask(client, b"HEAD", body=b"") == (200, b"", b"")
    assert scripted.n_connections == 1


async def test_a_connection_is_as_good_after_head_as_before(scripted, client):
    async def talk(reader, writer):
        for sent in (
            OK + b"content-length: 5\r\n\r\n",
            HELLO,
            OK + b"content-length: 0\r\n\r\n",
            HELLO,
        ):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(sent)

    scripted.talk = talk
    found = [await ask(client, method, body=b"") for method in (b"HEAD", b"GET", b"HEAD", b"GET")]

    assert [body for _, _, body in found] == [b"", b"hello", b"", b"hello"]
    assert scripted.n_connections == 1


async def test_a_body_without_a_length_ends_with_the_connection(scripted, client):
    scripted.talk = says(JSON + b"\r\nhel", b"lo", then="end", pause_s=0.01)

    for _ in range(2):
        assert await ask(client) == (200, b"application/json", b"hello")
    assert scripted.n_connections == 2


async def test_a_body_without_a_length_that_is_reset_is_not_whole(scripted, client):
    async def talk(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(JSON + b"\r\nhel")
        await asyncio.sleep(0.02)
        resets(writer)

    scripted.talk = talk
    with pytest.raises(EngineFailedError, match="closed the connection"):
        await ask(client)


@pytest.mark.parametrize(
    ("head", "is_kept"),
    [
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n", True),
        (b"HTTP/1.1 200 OK\r\n", True),
    ],
)
async def test_a_connection_is_kept_where_the_engine_says_so(scripted, client, head, is_kept):
    scripted.talk = says(head + b"content-length: 2\r\n\r\nok")

    for _ in range(2):
        assert (await ask(client))[2] == b"ok"
    assert scripted.n_connections == (1 if is_kept else 2)


async def test_chunks_from_a_server_of_1_0_are_read_and_its_connection_is_not_kept(
    scripted, client
):
    """RFC 9112, 6.1: it may not know what it passed on."""
    head = b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n"
    scripted.talk = says(head + b"2\r\nok\r\n0\r\n\r\n")

    for _ in range(2):
        assert (await ask(client))[2] == b"ok"
    assert scripted.n_connections == 2


async def test_what_an_interim_answer_says_is_not_the_answers(scripted, client):
    early = b"HTTP/1.1 103 Early\r\ncontent-type: text/x\r\nretry-after: 9\r\n\r\n"
    scripted.talk = says(early + HELLO)

    response = await client.request(b"GET", b"/")

    assert (response.status, response.content_type, response.retry_after) == (
        200,
        b"application/json",
        b"",
    )
    response.close()


async def test_the_first_content_type_counts_and_a_trailer_is_none(scripted, client):
    head = CHUNKED.replace(b"\r\n\r\n", b"\r\ncontent-type: text/plain\r\n\r\n")
    scripted.talk = says(head + b"0\r\ncontent-type: a/b\r\nretry-after: 3\r\n\r\n")

    response = await client.request(b"GET", b"/")

    assert (response.content_type, response.retry_after) == (b"text/event-stream", b"")
    assert await response.read() == b""
    response.close()
