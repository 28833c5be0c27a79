"""One view, two doors: the same bytes through the lane and through Django; no hop, no query in the lane."""

import asyncio
import re
import threading
from types import SimpleNamespace

import pytest
from asgiref.sync import SyncToAsync
from django.db import connections

from core.call import CONNECTION
from tests.people import Api

pytestmark = pytest.mark.django_db(transaction=True)
HI = [{"role": "user", "content": "hi"}]
REQUESTS = [
    ("POST", "/v1/chat/completions", {"model": "m", "messages": HI}),
    ("POST", "/v1/chat/completions", {"model": "m", "messages": HI, "stream": True, "stub": {}}),
    ("POST", "/chat/completions", {"messages": HI}),
    ("POST", "/v1/completions", {"model": "m", "prompt": "x"}),
    ("POST", "/v1/embeddings", {"model": "m", "input": ["a"]}),
    ("POST", "/v1/messages", {"model": "m", "messages": HI, "max_tokens": 5}),
    ("POST", "/v1/messages", {"model": "m", "messages": HI, "max_tokens": 5, "stream": True}),
    ("POST", "/v1/messages/count_tokens", {"model": "m", "messages": HI}),
    ("POST", "/v1/responses", {"model": "m", "input": "x"}),
    ("POST", "/v1/tokenize", {"model": "m", "content": "a b"}),
    ("POST", "/v1/detokenize", {"model": "m", "tokens": [1]}),
    ("POST", "/v1/engines/m/completions", {"prompt": "x"}),
    ("GET", "/v1/models", None),
    ("GET", "/v1/models/m", None),
    ("GET", "/v1/models/nope", None),
    ("POST", "/v1/chat/completions", {"model": "nope", "messages": HI}),
    ("POST", "/v1/messages", {"model": "m", "messages": 5, "max_tokens": 5}),
    ("POST", "/v1/responses", {"model": "m"}),
    ("POST", "/v1/chat/completions", {"model": "m", "messages": HI, "chat_template": "x"}),
    ("DELETE", "/v1/chat/completions", None),
    ("GET", "/api/models/capabilities", None),
    ("PUT", "/api/models/capabilities", None),
]


class LaneClient:
    """Speaks ASGI to the application, lifespan included, as uvicorn does."""

    def __init__(self, key):
        from localai_project import asgi  # looks at the schema, so outside any loop

        self.make = asgi.Application
        self.headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {key}".encode())]

    async def __aenter__(self):
        self.application = self.make()
        self.queue, self.said = asyncio.Queue(), asyncio.Queue()
        self.life = asyncio.create_task(
            self.application({"type": "lifespan"}, self.queue.get, self.said.put)
        )
        await self.queue.put({"type": "lifespan.startup"})
        assert (await self.said.get())["type"] == "lifespan.startup.complete"
        await self.application._worker._keeper.refresh_remote()
        return self

    async def __aexit__(self, *_):
        await self.queue.put({"type": "lifespan.shutdown"})
        await self.life

    async def ask(self, method, path, body):
        import orjson

        raw = b"" if body is None else orjson.dumps(body)
        given = iter([{"type": "http.request", "body": raw}])
        sent = []

        async def receive():
            for message in given:
                return message
            await asyncio.Event().wait()

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [*self.headers, (b"content-type", b"application/json")],
            CONNECTION: SimpleNamespace(
                loop=asyncio.get_running_loop(),
                gone=False,
                task=None,
                body=lambda: None,
                **dict.fromkeys(("reply", "push"), lambda *_: False),
            ),
            "client": ("127.0.0.1", 1),
        }
        await self.application(scope, receive, send)
        content = b"".join(m.get("body", b"") for m in sent if m["type"] == "http.response.body")
        self.answered = dict(sent[0]["headers"])
        return sent[0]["status"], self.answered.get(b"content-type"), content


@pytest.fixture
def engines(settings, stub):
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"engines": [f"m={stub.url}"]})


def stable(content):
    """Without what is random in an answer."""
    return re.sub(rb"resp_[0-9a-f]+", b"resp_x", content)


def test_both_doors_give_the_same_bytes(engines, alice, make_key):
    _, key = make_key(alice)
    api = Api(key=key)
    slow = []
    for method, path, body in REQUESTS:
        answer = api(method, path, body)
        slow.append(
            (answer.status_code, answer.headers["content-type"].encode(), stable(answer.content))
        )

    client = LaneClient(key)

    async def ask_all():
        async with client as lane:
            return [await lane.ask(*request) for request in REQUESTS]

    fast = [(status, kind, stable(content)) for status, kind, content in asyncio.run(ask_all())]

    for request, one, other in zip(REQUESTS, slow, fast, strict=True):
        assert one == other, request
    assert {status for status, *_ in fast} == {200, 400, 404, 405}


def test_a_warm_request_makes_no_hop_and_no_query(engines, alice, make_key, monkeypatch):
    _, key = make_key(alice)
    seen = []

    client = LaneClient(key)

    async def ask_all():
        async with client as lane:
            for request in REQUESTS:
                await lane.ask(*request)
            for task in lane.application._worker._follow:
                task.cancel()  # what reads the engine table behind the requests
            await asyncio.sleep(0.2)
            loop = asyncio.get_running_loop()
            monkeypatch.setattr(
                SyncToAsync, "__call__", lambda *_a, **_k: seen.append("sync_to_async")
            )
            monkeypatch.setattr(
                type(loop), "run_in_executor", lambda *_a, **_k: seen.append("executor")
            )
            monkeypatch.setattr(threading.Thread, "start", lambda *_a, **_k: seen.append("thread"))
            for connection in connections.all(initialized_only=True):
                connection.execute_wrappers.append(lambda *a: seen.append("query"))
            for request in REQUESTS:
                await lane.ask(*request)
            monkeypatch.undo()

    asyncio.run(ask_all())

    assert seen == []


def test_the_lane_serves_every_inference_view_and_nothing_else():
    from inference.api.lane_routes import lane_routes
    from inference.endpoints import ENDPOINTS

    routes = lane_routes()
    names = {route.name for route in routes._exact.values()} | {
        route.name for _, route in routes._patterns if route is not None
    }

    assert names == {*ENDPOINTS, "models", "model", "models-capabilities"}
    for route in routes._exact.values():
        assert route.requirements
