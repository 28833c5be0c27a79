"""Our client and vLLM itself, with nothing between them; aiohttp reads the same."""

import aiohttp
import orjson

from inference.sockets import socket_for
from inference.upstream import EngineClient
from tests.servers import CHAT

ASK = {
    "model": CHAT,
    "messages": [{"role": "user", "content": "Name three colours."}],
    "max_tokens": 8,
    "temperature": 0,
}


def timeless(raw):
    """An answer without what is another's each time."""
    return {k: v for k, v in orjson.loads(raw).items() if k not in {"id", "created"}}


def text(raw):
    lines = [line[6:] for line in raw.split(b"\n") if line.startswith(b"data: {")]
    return "".join(orjson.loads(each)["choices"][0]["delta"].get("content") or "" for each in lines)


async def test_vllm_is_read_as_aiohttp_reads_it_on_one_connection(sqlite_server):
    path = socket_for(CHAT, sqlite_server.folder / "data")
    client = EngineClient(f"unix:{path}")
    connector = aiohttp.UnixConnector(str(path))
    wrong = {**ASK, "max_tokens": -1}
    async with aiohttp.ClientSession("http://engine", connector=connector) as session:
        for body in (ASK, {**ASK, "stream": True}, wrong, None):
            method, at = ("POST", "/v1/chat/completions") if body else ("GET", "/health")
            sent = orjson.dumps(body) if body else b""
            headers = {"content-type": "application/json"}
            async with session.request(method, at, data=sent, headers=headers) as answer:
                theirs = await answer.read()
            response = await client.request(method.encode(), at.encode(), sent)
            ours = await response.read()
            response.close()

            assert response.status == answer.status
            assert response.content_type.decode() == answer.headers.get("content-type", "")
            if body is None:
                assert ours == theirs
            elif body.get("stream"):
                assert text(ours) == text(theirs) != ""
                assert ours.endswith(b"data: [DONE]\n\n")
            else:
                assert timeless(ours) == timeless(theirs)
            assert len(client._idle) == len(client._open) == 1
    client.close()
