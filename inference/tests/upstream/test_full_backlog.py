"""An engine's Unix socket with more callers than its backlog has room for."""

import asyncio
import socket

import pytest
import uvloop

from inference import upstream
from inference.tests.upstream.scripted import HELLO, ask
from inference.upstream import NoConnectionInTimeError


@pytest.fixture
async def on_uvloop():
    if not isinstance(asyncio.get_running_loop(), uvloop.Loop):
        pytest.skip("asyncio's own loop takes a full backlog for a connection that is under way")


@pytest.fixture
def full_socket(tmp_path):
    """(path, socket) of somebody who listens, has room for one or two, and takes nobody yet."""
    path = tmp_path / "engine.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen(1)
        yield path, listening


@pytest.mark.usefixtures("on_uvloop")
async def test_a_socket_whose_backlog_is_full_is_waited_for_as_an_address_is(
    make_client, full_socket
):
    """Connecting to a Unix socket does not wait for room by itself, as it does over TCP."""
    path, listening = full_socket
    client = make_client(f"unix:{path}")
    asked = [asyncio.create_task(ask(client)) for _ in range(20)]
    await asyncio.sleep(0.05)
    assert not any(each.done() for each in asked)

    async def talk(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HELLO)
        writer.close()

    server = await asyncio.start_unix_server(talk, sock=listening)
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*asked)
    server.close()
    assert len(answers) == 20


@pytest.mark.usefixtures("on_uvloop")
async def test_a_socket_whose_backlog_stays_full_is_given_up(make_client, full_socket, monkeypatch):
    monkeypatch.setattr(upstream, "CONNECT_S", 0.2)
    path, _listening = full_socket
    client = make_client(f"unix:{path}")
    asked = [asyncio.create_task(ask(client)) for _ in range(5)]
    async with asyncio.timeout(5):
        errors = await asyncio.gather(*asked[2:], return_exceptions=True)
    for each in asked:
        each.cancel()
    await asyncio.wait(asked)
    assert [type(each) for each in errors] == [NoConnectionInTimeError] * 3
