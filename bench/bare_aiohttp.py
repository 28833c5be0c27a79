"""A bare forwarder on aiohttp, what most Python gateways are made of; for comparison only."""

import os

import aiohttp
import orjson

_session: aiohttp.ClientSession | None = None


async def application(scope, receive, send):
    global _session  # noqa: PLW0603
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                _session = aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(limit=0), auto_decompress=False
                )
            elif _session is not None:
                await _session.close()
            await send({"type": message["type"] + ".complete"})
            if message["type"].endswith("shutdown"):
                return
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = orjson.dumps(orjson.loads(b"".join(parts)))
    url = os.environ["GATEHOUSE_BENCH_ENGINE"] + "/v1/chat/completions"
    headers = {"content-type": "application/json"}
    async with _session.post(url, data=body, headers=headers) as response:
        raw = await response.read()
        kind = response.headers["content-type"].encode()
    head = [(b"content-type", kind), (b"content-length", b"%d" % len(raw))]
    await send({"type": "http.response.start", "status": response.status, "headers": head})
    await send({"type": "http.response.body", "body": raw})
