"""Anthropic's messages and their token counter."""

import re
from typing import Any

import orjson

from core.errors import EngineFailedError, InvalidRequestError, NotSupportedError
from inference.families.base import (
    JSON_TEXT,
    Asked,
    StreamEditor,
    Tokens,
    counted,
    loads,
    split_event,
    text_in,
)
from inference.request_rules import check_common, check_messages, check_parts

_DELTA_TEXTS = ("text", "partial_json", "thinking")
# A delta as vLLM and Anthropic write it, which goes on unparsed.
_DELTA = re.compile(
    rb"event: content_block_delta\n"
    rb'data: \{"type":"content_block_delta",(?:"index":(\d{1,9}),)?"delta":\{"type":"[a-z_]{1,32}",'
    rb'"(?:text|partial_json|thinking)":%b\}(?:,"index":(\d{1,9}))?\}\n\n' % JSON_TEXT
)


class MessageEditor(StreamEditor):
    """Usage comes at the start and the end only, so what is streamed is kept for counting."""

    __slots__ = ("_block",)

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        self.text = []
        self._block: int | None = None

    def feed(self, event: bytes) -> bytes:
        found = _DELTA.fullmatch(event)
        if found is not None and (text := text_in(found[2])) is not None:
            index = found[3] or found[1]
            self._block = int(index) if index else None
            self.deltas += 1
            if text and self.text is not None:
                self.text.append(text)
            return event
        return self._parsed(event)

    def _parsed(self, event: bytes) -> bytes:
        name, data = split_event(event)
        if not data:
            return event if name or event.startswith(b":") else b""
        if data == b"[DONE]":  # the engine's own end marker, which is not Anthropic's
            return b""
        body = loads(data)
        kind = body.get("type")
        if kind == "error":
            raise EngineFailedError
        if kind == "content_block_delta":
            self._block = body.get("index")
            self._collect(body.get("delta"))
            return event
        if kind == "content_block_stop":
            self._block = None
        if kind == "message_start":
            return self._start(body)
        if kind == "message_delta":
            self._count(body.get("usage"))
        elif kind == "message_stop":
            self.done = True
        return event

    def _start(self, body: dict[str, Any]) -> bytes:
        message = body.get("message")
        if isinstance(message, dict):
            self._count(message.get("usage"))
            message["model"] = self.asked.model
            message["id"] = message_id(message.get("id"))
        return b"event: message_start\ndata: " + orjson.dumps(body) + b"\n\n"

    def _count(self, usage: Any) -> None:
        tokens = counted(usage, "input_tokens", "output_tokens")
        if tokens is not None:
            before = self.tokens or Tokens(0, 0)
            cached = usage.get("cache_read_input_tokens")
            cached = cached if type(cached) is int and cached > 0 else before.cached
            prompt = tokens.prompt or before.prompt
            self.tokens = Tokens(prompt, tokens.completion, min(cached, prompt))

    def cut(self, tokens: Tokens) -> bytes:
        """The open block ends, then the message, with the reason `max_tokens` (S-52)."""
        events: list[dict[str, Any]] = []
        if self._block is not None:
            events.append({"type": "content_block_stop", "index": self._block})
        delta = {"stop_reason": "max_tokens", "stop_sequence": None}
        usage = {"input_tokens": tokens.prompt, "output_tokens": tokens.completion}
        events += [
            {"type": "message_delta", "delta": delta, "usage": usage},
            {"type": "message_stop"},
        ]
        return b"".join(
            b"event: %b\ndata: %b\n\n" % (str(each["type"]).encode(), orjson.dumps(each))
            for each in events
        )

    def _collect(self, delta: Any) -> None:
        self.deltas += 1
        if isinstance(delta, dict) and self.text is not None:
            self.text += [str(delta[key]) for key in _DELTA_TEXTS if delta.get(key)]


def message_id(given: Any) -> str:
    """Anthropic's ids start with `msg_`; the engine's do not."""
    text = str(given or "")
    return text if text.startswith("msg_") else "msg_" + text.rpartition("-")[2]


class MessagesRules:
    @staticmethod
    def prepare(asked: Asked) -> None:
        data = asked.data
        limit = data.get("max_tokens")
        if type(limit) is not int or limit < 1:
            raise InvalidRequestError(
                "max_tokens is required and must be greater than 0", param="max_tokens"
            )
        check_anthropic(data)

    @staticmethod
    def usage(body: dict[str, Any]) -> Tokens | None:
        return counted(body.get("usage"), "input_tokens", "output_tokens")

    @staticmethod
    def finish(body: dict[str, Any], asked: Asked) -> dict[str, Any]:
        body["model"] = asked.model
        body["id"] = message_id(body.get("id"))
        body.setdefault("stop_sequence", None)
        return body

    def editor(self, asked: Asked) -> StreamEditor | None:
        return MessageEditor(asked)


def check_anthropic(data: dict[str, Any]) -> None:
    """Messages, system and tools of an Anthropic body."""
    check_common(data)
    check_messages(data.get("messages"))
    system = data.get("system")
    if isinstance(system, list):
        check_parts(system, param="system")
    elif system is not None and not isinstance(system, str):
        raise InvalidRequestError("system must be a text or a list of parts", param="system")
    for name in ("container", "context_management"):
        if data.get(name) is not None:
            raise NotSupportedError(f"{name} is not supported", param=name)


class CountTokensRules(MessagesRules):
    @staticmethod
    def prepare(asked: Asked) -> None:
        check_anthropic(asked.data)

    @staticmethod
    def usage(_body: dict[str, Any]) -> Tokens | None:
        return Tokens(0, 0)

    @staticmethod
    def finish(body: dict[str, Any], _asked: Asked) -> dict[str, Any]:
        return {"input_tokens": body.get("input_tokens", 0)}

    def editor(self, _asked: Asked) -> StreamEditor | None:
        return None
