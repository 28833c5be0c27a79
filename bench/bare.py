"""The bare forwarder that the product is measured against: the same server and HTTP client, nothing else.

ASGI; the engine's address is in GATEHOUSE_BENCH_ENGINE. It checks nobody and records nothing.
"""

import os

import orjson

from inference.upstream import EngineClient

_client: EngineClient | None = None


def client() -> EngineClient:
    global _client  # noqa: PLW0603
    if _client is None:
        _client = EngineClient(os.environ["GATEHOUSE_BENCH_ENGINE"])
    return _client


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"].endswith("shutdown"):
                return
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = orjson.loads(b"".join(parts))
    response = await client().request(b"POST", b"/v1/chat/completions", orjson.dumps(body))
    try:
        if response.content_type.startswith(b"text/event-stream"):
            headers = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while piece := await response.chunk():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        else:
            raw = await response.read()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(raw)),
            ]
            await send(
                {"type": "http.response.start", "status": response.status, "headers": headers}
            )
            await send({"type": "http.response.body", "body": raw})
    finally:
        response.close()
