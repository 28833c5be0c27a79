"""The inference path without HTTP: a call, an answer that is looked at, a journal that is read."""

import asyncio
from pathlib import Path
from typing import Any

import orjson

from core.call import Answer, Call
from core.errors import QuotaExceededError
from core.principal import Principal
from core.response_headers import HostRules, OriginRules
from inference.endpoints import ENDPOINTS
from inference.engine_table import EngineTable, Target
from inference.handlers import infer
from inference.runtime import Runtime
from usage.journal.segments import Names, read_from, segments
from usage.journal.writer import Journal
from usage.metering import Meter
from usage.quotas.terms import Rule

AS_USUAL = {"n": False, "est": False, "cp": 0, "q": 0, "sse": False}
BOB = Principal("u1", "Bob", "bob@x.org", "user", "apikey", frozenset({"chat"}), "k1", "key")
PATHS = {
    "chat-completions": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
    "messages": "/v1/messages",
    "messages-count-tokens": "/v1/messages/count_tokens",
    "responses": "/v1/responses",
    "tokenize": "/v1/tokenize",
    "detokenize": "/v1/detokenize",
}
HI = [{"role": "user", "content": "hi"}]
CHAT = {"model": "m", "messages": HI}
BODIES = {
    "chat-completions": CHAT,
    "completions": {"model": "m", "prompt": "hi"},
    "messages": {**CHAT, "max_tokens": 1000},
    "responses": {"model": "m", "input": "hi"},
}


class Rig:
    """One runtime over a folder; `ask` runs one request and returns (status, body)."""

    def __init__(
        self,
        folder: Path,
        url: str = "http://127.0.0.1:9",
        more: tuple[str, ...] = (),
        **target: Any,
    ) -> None:
        self.folder = folder
        self.sent: list[dict[str, Any]] = []
        self.wanted: list[str] = []
        self.stored: dict[str, Any] = {}
        self.principal = BOB
        table = EngineTable(max_waiting=4)
        fields = {"state": "ready", "capabilities": frozenset({"chat"}), **target}
        served = fields.pop("served_model", "m")
        others = [Target(name, name, url, **fields) for name in more]
        table.replace([Target("m", served, url, **fields), *others])
        self.runtime = Runtime(
            resolve=self._resolve,
            meter=Meter(Journal(folder)),
            engines=table,
            load_stored=self._load,
            want_model=self.wanted.append,
            hosts=HostRules(frozenset({"*"})),
            origins=OriginRules(),
            body_limit=1_000_000,
        )

    async def _resolve(self, _headers: dict[bytes, bytes]) -> Principal:
        return BOB

    async def _load(self, response_id: str, user_id: str) -> Any:
        return self.stored.get(response_id) if user_id == BOB.user_id else None

    def call(self, name: str, body: Any, **headers: str) -> tuple[Call, Answer]:
        raw = body if isinstance(body, bytes) else orjson.dumps(body)

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": raw}

        async def send(message: Any) -> None:
            self.sent.append(message)

        self.sent = []
        given = {k.replace("_", "-").encode(): v.encode() for k, v in headers.items()}
        call = Call(
            method="POST", path=PATHS[name], query=b"", headers=given, receive=receive, client=""
        )
        call.principal = self.principal
        return call, Answer(send, [])

    async def ask(
        self, name: str, body: Any, *, query: bytes = b"", **headers: str
    ) -> tuple[int, bytes]:
        """Raises the GatehouseError that the lane would say."""
        call, answer = self.call(name, body, **headers)
        call.query = query
        await infer(call, answer, self.runtime, ENDPOINTS[name])
        return self.sent[0]["status"], self.body()

    def body(self) -> bytes:
        return b"".join(m.get("body", b"") for m in self.sent if m["type"] == "http.response.body")

    def events(self) -> list[dict[str, Any]]:
        """The final records of the journal, with what they leave out as usual."""
        return [{**AS_USUAL, **record} for record in self.records("f")]

    def records(self, kind: str) -> list[dict[str, Any]]:
        found = []
        for path in segments(self.folder):
            names = Names(path)
            for record in read_from(path, 0, limit=10_000)[0]:
                names.take(record)
                if record and record["k"] == kind:
                    found.append({"cid": record.get("id"), **names.whole(record)})
        return found

    async def until(self, check: Any, timeout_s: float = 5.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not check():
                await asyncio.sleep(0.01)


def rule(**maxima):
    names = {"id": f"rule-{len(str(maxima))}-{abs(hash(str(maxima)))}", "user_id": "u1"}
    return Rule(**{**names, "key_id": None, "model": "", "window_s": 3600, **maxima})


async def statuses(rig, n, name="chat-completions", body=None):
    found = []
    for _ in range(n):
        try:
            found.append((await rig.ask(name, body or CHAT))[0])
        except QuotaExceededError as exc:
            found.append(exc.http_status)
    return found
