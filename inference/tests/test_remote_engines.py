"""`LOCALAI_ENGINES`: what several servers list, as one worker's table has it."""

import asyncio

import orjson
import pytest

from core.generations import Generations
from inference.engine_table import EngineTable
from inference.remote_engines import RemoteEngine, all_targets
from inference.table_keeper import TableKeeper
from tests.stub import StubEngine


class Lists:
    """A server that lists models, or answers with an error."""

    def __init__(self, *names, length=0, status=200):
        more = {"max_model_len": length} if length else {}
        self.body = orjson.dumps({"data": [{"id": name, **more} for name in names]})
        self.status = status

    async def __aenter__(self):
        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            head = b"HTTP/1.1 %d X\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
            writer.write(head % (self.status, len(self.body)) + self.body)
            writer.close()

        self.server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self.server.close()


async def asked(*items, known=()):
    engines = [RemoteEngine(name, url, "") for name, url in items]
    await asyncio.gather(*(engine.ask() for engine in engines))
    for engine in engines:
        engine.close()
    return {target.name: target for target in all_targets(engines, known=known)}


async def test_one_name_with_two_addresses_is_one_model():
    async with Lists("m", length=4096) as one, Lists("m", length=2048) as two:
        found = await asked(("a", one.url), ("a", two.url), ("b", one.url))

    assert set(found) == {"a", "b"}
    assert found["a"].addresses == (one.url, two.url)
    assert found["a"].context_length == 2048
    assert (found["b"].addresses, found["b"].address) == ((), one.url)


async def test_servers_without_a_name_share_the_models_that_they_both_list():
    async with Lists("m", "x") as one, Lists("m") as two:
        found = await asked(("", one.url), ("", two.url), known={"x"})

    assert set(found) == {"m"}
    assert found["m"].addresses == (one.url, two.url)


async def test_each_address_is_asked_by_its_own_name_for_the_model():
    async with Lists("a") as one, Lists("other") as two:
        found = (await asked(("a", one.url), ("a", two.url)))["a"]

    assert found.served_model == "other"
    assert (found.name_at(one.url), found.name_at(two.url)) == ("a", "other")


async def test_an_address_that_is_down_is_left_out_and_none_is_a_model_that_loads():
    async with Lists("m") as one, Lists(status=503) as ill:
        found = await asked(("a", one.url), ("a", ill.url), ("a", "http://127.0.0.1:9"))
        gone = await asked(("a", ill.url), ("a", "http://127.0.0.1:9"))

    assert (found["a"].state, found["a"].address, found["a"].addresses) == ("ready", one.url, ())
    assert (gone["a"].state, gone["a"].message) == ("loading", "a does not answer")


async def test_a_server_that_falls_ill_keeps_the_names_that_it_listed():
    async with Lists("m") as server:
        engine = RemoteEngine("", server.url, "")
        await engine.ask()
        server.status = 503
        await engine.ask()
        engine.close()

    assert [(target.name, target.state) for target in engine.targets] == [("m", "loading")]


@pytest.mark.slow
async def test_an_address_that_comes_back_is_used_again(tmp_path):
    stub, table = StubEngine(), EngineTable()
    engines = [RemoteEngine("m", stub.url, ""), RemoteEngine("m", "http://127.0.0.1:9", "")]

    async def nothing():
        return []

    keeper = TableKeeper(
        table, load=nothing, generations=Generations(tmp_path / "g"), remote=engines
    )
    await keeper.refresh_remote()
    assert table.targets["m"].address == stub.url

    engines[1]._client = engines[0]._client  # the second machine is there now
    engines[1].url = stub.url.replace("127.0.0.1", "localhost")
    await keeper.refresh_remote()
    assert len(table.targets["m"].addresses) == 2

    stub.stop()
    await keeper.refresh_remote()
    assert table.targets["m"].state == "loading"
    keeper.close()
    table.close()
