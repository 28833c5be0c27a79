"""The servers that people have, and aiohttp beside us: what it reads, we read."""

import asyncio
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import pytest

from core.errors import EngineFailedError
from inference.tests.upstream.scripted import (
    CHUNKED,
    HELLO,
    JSON,
    OK,
    Scripted,
    ask,
    read_request,
    resets,
    until_gone,
)
from inference.tests.upstream.served import (
    ANSWERS,
    BIG,
    Certificate,
    gunicorn,
    nginx,
    nginx_program,
    uvicorn_at,
)
from inference.tests.upstream.test_flow import (
    PIECES,
    Flood,
    quickest_of_three,
    silent,
    streaming,
)
from inference.upstream import NotReachableError
from tests.postgresql import free_port

pytestmark = pytest.mark.slow
SERVERS = [
    "uvicorn",
    "uvicorn, h11",
    "uvicorn, TLS",
    "uvicorn, socket",
    "gunicorn",
    "nginx",
    "nginx, TLS",
    "nginx, socket",
]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return Certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def addresses(certificate):
    """Where each of `SERVERS` that can run here listens."""
    folder = Path(tempfile.mkdtemp(prefix="up-"))  # a socket's path is short
    ports = [free_port() for _ in range(3)]
    at = {"host": "127.0.0.1"}
    secure = {"ssl_certfile": certificate.file, "ssl_keyfile": certificate.key}
    found = {
        "uvicorn": f"http://127.0.0.1:{ports[0]}",
        "uvicorn, h11": f"http://127.0.0.1:{ports[1]}",
        "uvicorn, TLS": f"https://127.0.0.1:{ports[2]}",
        "uvicorn, socket": f"unix:{folder}/u.sock",
    }
    with ExitStack() as stack:
        stack.enter_context(uvicorn_at(port=ports[0], http="httptools", **at))
        stack.enter_context(uvicorn_at(port=ports[1], http="h11", **at))
        stack.enter_context(uvicorn_at(port=ports[2], **secure, **at))
        stack.enter_context(uvicorn_at(uds=f"{folder}/u.sock"))
        found["gunicorn"] = stack.enter_context(gunicorn())
        if nginx_program():
            found |= stack.enter_context(nginx(folder, found["uvicorn"], certificate))
        yield found
    shutil.rmtree(folder)


@pytest.fixture(params=SERVERS)
def address(request, addresses):
    if request.param not in addresses:
        pytest.skip("nginx is not installed (apt-get install nginx-light)")
    return addresses[request.param]


@pytest.fixture
def engine(make_client, address, certificate):
    return make_client(address, tls=certificate.believed())


async def by_aiohttp(address, method, path, body=b"", tls=None):
    """(status, content type, body), or None where aiohttp says that the answer is none."""
    headers = {"accept-encoding": "identity", "content-type": "application/json"}
    is_unix = address.startswith("unix:")
    connector = (
        aiohttp.UnixConnector(address.removeprefix("unix:"))
        if is_unix
        else aiohttp.TCPConnector(ssl=tls or False)
    )
    base = "http://engine" if is_unix else address
    timeout = aiohttp.ClientTimeout(total=5)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.request(method, base + path, data=body, headers=headers) as answer,
        ):
            kind = answer.headers.get("content-type", "").encode()
            return answer.status, kind, await answer.read()
    except aiohttp.ClientError:
        return None
    finally:  # it closes its connections behind its back
        await asyncio.sleep(0.02 if tls else 0)


async def test_a_servers_answers_are_what_it_sent_and_what_aiohttp_reads(
    address, engine, certificate
):
    for path, (status, kind, pieces, _) in ANSWERS.items():
        expected = await by_aiohttp(address, "GET", path, tls=certificate.believed())
        for _ in range(2):
            found = await ask(engine, b"GET", path.encode(), b"")
            assert found == expected
            assert (found[0], found[2]) == (status, b"".join(pieces))
            assert found[1].startswith(kind)


async def test_head_has_no_body_at_any_server(engine):
    for path in ["/plain", "/stream", "/big", "/empty", "/404"] * 2:
        assert (await ask(engine, b"HEAD", path.encode(), b""))[::2] == (ANSWERS[path][0], b"")


async def test_a_request_arrives_whole_at_any_server(engine):
    for body in (b"", b"{}", BIG * 4, b"{}"):
        assert (await ask(engine, path=b"/echo", body=body))[2] == body


async def test_one_connection_serves_them_all(engine):
    for path in ANSWERS:
        await ask(engine, b"GET", path.encode(), b"")
    (connection,) = engine._idle
    assert engine._open == {connection}


async def test_many_at_once_at_any_server(engine):
    paths = [b"/plain", b"/stream", b"/404", b"/big-stream"] * 5
    found = await asyncio.gather(*(ask(engine, b"GET", path, b"") for path in paths))

    assert [len(body) for _, _, body in found[:4]] * 5 == [len(body) for _, _, body in found]
    assert len(engine._open) <= 20


RAW = {
    "a length": HELLO,
    "a length with spaces": OK + b"Content-Length:   5  \r\n\r\nhello",
    "zeros before a length": OK + b"content-length: 0005\r\n\r\nhello",
    "no type": OK + b"content-length: 5\r\n\r\nhello",
    "nothing": OK + b"content-length: 0\r\n\r\n",
    "chunks": CHUNKED + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    "chunks in large letters": CHUNKED.upper() + b"A\r\n0123456789\r\n00\r\n\r\n",
    "an extension": CHUNKED + b"5;a=b\r\nhello\r\n0\r\n\r\n",
    "a trailer": CHUNKED + b"5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n",
    "until the end": JSON + b"\r\nhello",
    "1.0 until the end": b"HTTP/1.0 200 OK\r\n\r\nhello",
    "1.0 with a length": b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    "no reason": b"HTTP/1.1 200 \r\ncontent-length: 5\r\n\r\nhello",
    "an odd status": b"HTTP/1.1 299 So so\r\ncontent-length: 5\r\n\r\nhello",
    "100 first": b"HTTP/1.1 100 Continue\r\n\r\n" + HELLO,
    "103 first": b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + HELLO,
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "304 with a length": b"HTTP/1.1 304 x\r\ncontent-length: 5\r\n\r\n",
    "a value of nothing": OK + b"x:\r\ncontent-length: 5\r\n\r\nhello",
    "letters of latin-1": OK + b"x: \xe9\r\ncontent-length: 5\r\n\r\nhello",
    "NUL in the body": OK + b"content-length: 3\r\n\r\n\0\r\n",
    "a body cut short": OK + b"content-length: 6\r\n\r\nhello",
    "chunks cut short": CHUNKED + b"5\r\nhello\r\n",
    "a head cut short": JSON,
    "a length and chunks": OK + b"content-length: 5\r\n" + CHUNKED[17:] + b"0\r\n\r\n",
    "two lengths": OK + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
    "a signed length": OK + b"content-length: +5\r\n\r\nhello",
    "NUL in a value": OK + b"x: \0\r\ncontent-length: 5\r\n\r\nhello",
    "words": b"I am an engine.\r\n\r\n",
    "a size past 64 bits": CHUNKED + b"fffffffffffffffff\r\nhello",
    "no size": CHUNKED + b"\r\nhello\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW.keys())
async def test_what_aiohttp_reads_of_any_bytes_we_read(scripted, client, raw):
    """But for what `test_hostile` refuses and aiohttp lets through, as a space before a colon."""

    async def talk(reader, writer):
        await read_request(reader)
        writer.write(raw)
        await writer.drain()
        writer.write_eof()
        await until_gone(reader)

    scripted.talk = talk
    expected = await by_aiohttp(scripted.url, "POST", "/", b"{}")
    try:
        found = await ask(client)
    except EngineFailedError:
        found = None

    if expected is not None and expected[1] == b"application/octet-stream":
        expected = (expected[0], b"", expected[2])  # what it says where nothing was said
    assert found == expected


@pytest.fixture
async def secure(certificate):
    server = Scripted(tls=certificate.shown())
    await server.start()
    yield server
    await server.stop()


async def test_a_certificate_that_nobody_vouches_for_is_not_believed(addresses, make_client):
    client = make_client(addresses["uvicorn, TLS"])

    with pytest.raises(NotReachableError):
        await ask(client)


async def test_a_certificate_for_another_name_is_not_believed(addresses, make_client, certificate):
    address = addresses["uvicorn, TLS"].replace("127.0.0.1", "localhost")
    client = make_client(address, tls=certificate.believed())

    with pytest.raises(NotReachableError):
        await ask(client)


@pytest.mark.parametrize("talk", [silent, streaming])
async def test_a_hang_up_reaches_an_engine_behind_tls_within_100_ms(
    secure, make_client, certificate, talk
):
    client = make_client(secure.url, tls=certificate.believed())

    assert await quickest_of_three(secure, client, talk) < 0.1


async def test_a_reader_that_does_not_read_stops_an_engine_behind_tls(
    secure, make_client, certificate
):
    flood = Flood(*PIECES["large chunks"][:1])
    secure.talk = flood.talk
    client = make_client(secure.url, tls=certificate.believed())
    response = await client.request(b"POST", b"/")
    await asyncio.sleep(0.3)
    taken = flood.sent
    await asyncio.sleep(0.1)

    assert flood.sent == taken < 16 * 1024 * 1024
    (connection,) = client._open
    assert connection.buffered < 1024 * 1024
    response.close()


async def test_a_body_without_a_length_cut_off_within_tls_is_not_whole(
    secure, make_client, certificate
):
    """Who sits between can end a connection, but not say TLS's own good-bye."""

    async def talk(reader, writer):
        await read_request(reader)
        writer.write(OK + b"\r\nhello")
        await writer.drain()
        await asyncio.sleep(0.02)
        resets(writer)

    secure.talk = talk
    with pytest.raises(EngineFailedError):
        await ask(make_client(secure.url, tls=certificate.believed()))


async def test_credentials_in_an_address_are_not_told_to_the_engine(scripted, make_client):
    client = make_client(scripted.url.replace("http://", "http://me:secret@") + "/sub/", key="k")
    await ask(client, path=b"/v1/models")
    head = scripted.requests[0][0]

    assert b"secret" not in head
    assert b"host: 127.0.0.1:%d\r\n" % scripted.port in head
    assert b"authorization: Bearer k\r\n" in head
    assert head.startswith(b"POST /sub/v1/models HTTP/1.1\r\n")
