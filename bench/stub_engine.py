"""An engine that answers at once, or fails as it is told, with exact token counts.

For faults, counts and load only. `python -m bench.stub_engine PORT|PATH.sock`; prints `ready`.
A request body may hold `"stub": {…}`, which the product passes through like any unknown key, or its last
message begin with `stub {…}`, as people write in a chat:

    tokens      how many tokens to answer with (5)     tick      seconds between chunks (0)
    die_after   close the connection after N chunks    hang      never answer
    garbage     answer what is no JSON                 status    answer with that error
    error_event an error event after N chunks          die       end the whole process after N chunks
    silent      no running counts, as other engines        words     to say for ` token`, or a list
    cached      prompt tokens said to be cached        no_usage  a plain answer that counts nothing
    counts      running counts, asked for or not
"""

import asyncio
import itertools
import json
import os
import sys
from typing import Any

import httptools

CHAT = {"id": "chatcmpl-1", "created": 1, "model": "m"}
STATE: dict[str, Any] = {"received": 0, "active": 0, "aborted": 0, "headers": {}, "body": None}
PROMPT_TOKENS = 12


def usage(n: int) -> dict[str, int]:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "total_tokens": PROMPT_TOKENS + n,
        "completion_tokens": n,
    }


def anthropic_usage(n: int) -> dict[str, int]:
    return {"input_tokens": PROMPT_TOKENS, "output_tokens": n}


def responses_usage(n: int) -> dict[str, int]:
    return {**anthropic_usage(n), "total_tokens": PROMPT_TOKENS + n}


def response_object(n: int, status: str) -> dict[str, Any]:
    text = " token" * n
    content = [{"type": "output_text", "text": text, "annotations": []}]
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": content}
    done = status == "completed"
    return {
        "id": f"resp_{os.urandom(8).hex()}",
        "object": "response",
        "created_at": 1,
        "status": status,
        "model": "m",
        "output": [message] if done else [],
        "usage": responses_usage(n) if done else None,
    }


def plain(path: str, body: dict[str, Any], n: int) -> dict[str, Any]:
    """The whole answer of one endpoint with `n` tokens."""
    text = " token" * n
    if path == "/v1/chat/completions":
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {**CHAT, "object": "chat.completion", "choices": [choice], "usage": usage(n)}
    if path == "/v1/completions":
        choice = {"index": 0, "text": text, "finish_reason": "stop"}
        return {**CHAT, "object": "text_completion", "choices": [choice], "usage": usage(n)}
    if path == "/v1/embeddings":
        given = body.get("input")
        n_inputs = len(given) if isinstance(given, list) else 1
        data = [
            {"object": "embedding", "index": i, "embedding": [0.5, 0.5]} for i in range(n_inputs)
        ]
        return {"object": "list", "model": "m", "data": data, "usage": {**usage(0)}}
    if path == "/v1/messages":
        content = [{"type": "text", "text": text}]
        reply = {"id": "chatcmpl-1", "type": "message", "role": "assistant", "content": content}
        return {**reply, "model": "m", "stop_reason": "end_turn", "usage": anthropic_usage(n)}
    if path == "/v1/messages/count_tokens":
        return {"input_tokens": PROMPT_TOKENS}
    if path == "/v1/responses":
        return response_object(n, "completed")
    if path == "/tokenize":
        words = str(body.get("prompt") or "x " * PROMPT_TOKENS).split()
        return {"count": len(words), "max_model_len": 100, "tokens": list(range(len(words)))}
    return {"prompt": "text"}


def events(path: str, body: dict[str, Any], n: int) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """(before, one per token, after) of a stream."""
    if path == "/v1/messages":
        start = {**plain(path, body, 0), "content": [], "usage": anthropic_usage(0)}
        delta = {"type": "text_delta", "text": " token"}
        stop = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
        return (
            [named({"type": "message_start", "message": start})],
            [named({"type": "content_block_delta", "index": 0, "delta": delta})] * n,
            [named({**stop, "usage": anthropic_usage(n)}), named({"type": "message_stop"})],
        )
    if path == "/v1/responses":
        created = {"type": "response.created", "response": response_object(0, "in_progress")}
        delta = {"type": "response.output_text.delta", "delta": " token"}
        ended = {"type": "response.completed", "response": response_object(n, "completed")}
        return [named(created)], [named(delta)] * n, [named(ended)]
    chat = path == "/v1/chat/completions"
    kind = "chat.completion.chunk" if chat else "text_completion"
    piece: dict[str, Any] = {"delta": {"content": " token"}} if chat else {"text": " token"}
    choice = {"index": 0, **piece, "finish_reason": None}
    chunk = {**CHAT, "object": kind, "choices": [choice]}
    told = body.get("stub") or told_in_words(body)
    running = (body.get("stream_options") or {}).get("continuous_usage_stats")
    running = told.get("counts") or (running and not told.get("silent"))
    each = [data({**chunk, "usage": usage(i + 1)} if running else chunk) for i in range(n)]
    last = [data({**CHAT, "object": kind, "choices": [], "usage": usage(n)}), b"data: [DONE]\n\n"]
    return [], each, last


def told_in_words(body: dict[str, Any]) -> dict[str, Any]:
    """What the last message of a person says after `stub`; nothing where it says something else."""
    given = body.get("messages")
    people = [each for each in given or () if isinstance(each, dict) and each.get("role") == "user"]
    said = people[-1].get("content") if people else ""
    if not isinstance(said, str) or not said.startswith("stub {"):
        return {}
    found: dict[str, Any] = json.loads(said[5:])
    return found


def data(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def named(body: dict[str, Any]) -> bytes:
    return b"event: " + body["type"].encode() + b"\n" + data(body)


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


FAST = json.dumps(plain("/v1/chat/completions", {}, 17)).encode()
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)


class Stub(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.task: asyncio.Task[None] | None = None

    def data_received(self, received: bytes) -> None:
        self.parser.feed_data(received)

    def on_message_begin(self) -> None:
        self.path, self.body, self.headers = "", b"", {}

    def on_url(self, url: bytes) -> None:
        self.path = url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        if self.path == "/health":
            self.answer(200, b"{}")
        elif self.path == "/v1/models":
            self.answer(200, b'{"object":"list","data":[{"id":"m","object":"model"}]}')
        elif self.path == "/metrics":
            lines = f"vllm:num_requests_running{{}} {STATE['active']}\nvllm:request_success_total {STATE['received']}\n"
            self.answer(200, lines.encode(), b"text/plain")
            self.transport.close()
        elif self.path == "/stub/state":
            self.answer(200, json.dumps(STATE).encode())
        elif (
            b'"stub"' not in self.body and b'"stream":true' not in self.body and "chat" in self.path
        ):
            STATE["received"] += 1
            self.answer(200, FAST)
        else:
            self.task = asyncio.get_running_loop().create_task(self.work(json.loads(self.body)))

    def answer(self, status: int, body: bytes, kind: bytes = b"application/json") -> None:
        self.transport.write(
            b"HTTP/1.1 %d OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b"
            % (status, kind, len(body), body)
        )

    async def work(self, body: dict[str, Any]) -> None:
        told = body.get("stub") or told_in_words(body)
        STATE.update(received=STATE["received"] + 1, headers=self.headers, body=body)
        STATE["active"] += 1
        try:
            if told.get("hang"):
                await asyncio.sleep(3600)
            if told.get("garbage"):
                self.answer(200, b"<html>not what you asked for</html>")
            elif "status" in told:
                words = {"error": {"message": told.get("message", "said no"), "param": "stub"}}
                self.answer(told["status"], json.dumps(words).encode())
            elif body.get("stream"):
                await self.stream(body, told)
            else:
                await asyncio.sleep(told.get("tick", 0))
                answer = plain(self.path, body, told.get("tokens", 5))
                if told.get("no_usage"):
                    answer.pop("usage", None)
                if cached := told.get("cached"):
                    answer["usage"]["prompt_tokens_details"] = {"cached_tokens": cached}
                self.answer(200, json.dumps(answer).encode())
        finally:
            STATE["active"] -= 1

    async def stream(self, body: dict[str, Any], told: dict[str, Any]) -> None:
        before, each, after = events(self.path, body, told.get("tokens", 5))
        if words := told.get("words"):
            turn = itertools.cycle([words] if isinstance(words, str) else words)
            each = [one.replace(b" token", b" %s" % next(turn).encode()) for one in each]
        self.transport.write(STREAM_HEAD + b"".join(map(chunk, before)))
        for i, event in enumerate(each):
            if told.get("die_after") == i:
                self.transport.abort()
                return
            if told.get("die") == i:
                os._exit(9)
            if told.get("error_event") == i:
                self.transport.write(chunk(data({"error": {"message": "secret /path"}})))
                return
            if told.get("garbage_after") == i:
                self.transport.write(chunk(b"data: {not json\n\n"))
                return
            self.transport.write(chunk(event))
            if told.get("tick"):
                await asyncio.sleep(told["tick"])
        self.transport.write(b"".join(map(chunk, after)) + b"0\r\n\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        if self.task is not None and not self.task.done():
            STATE["aborted"] += 1
            self.task.cancel()


async def main(where: str) -> None:
    loop = asyncio.get_running_loop()
    if where.isdigit():
        server = await loop.create_server(Stub, "127.0.0.1", int(where), backlog=2048)
        port = server.sockets[0].getsockname()[1]
        print(f"ready {port}", flush=True)
    else:
        server = await loop.create_unix_server(Stub, where, backlog=2048)
        print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(sys.argv[1]))
