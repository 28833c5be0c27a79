"""What the tests of the client to engines share. Each runs on both event loops: uvloop is the product's."""

import asyncio

import pytest
import uvloop

from inference.tests.upstream.scripted import Scripted
from inference.upstream import EngineClient


def pytest_asyncio_loop_factories(config, item):
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture(scope="module")
def run():
    """Runs a coroutine to its end; one loop for all the examples of a test."""
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture
async def scripted():
    """A server whose every connection is `server.talk(reader, writer)`."""
    server = Scripted()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def make_client():
    """Clients that leave no connection behind."""
    made = []

    def make(address, **options):
        made.append(EngineClient(address, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
        for connection in list(each._open):
            connection.transport.abort()
        while each._open or each._connecting:
            await asyncio.sleep(0)


@pytest.fixture
def client(make_client, scripted):
    return make_client(scripted.url)
