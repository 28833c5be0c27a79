"""OpenAI's responses. Storing them is the product's, not the engine's (design.md)."""

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
from inference.request_rules import check_common, check_messages

_TERMINAL = {"response.completed", "response.failed", "response.incomplete"}
_DELTAS = (
    "response.output_text.delta",
    "response.function_call_arguments.delta",
    "response.reasoning_text.delta",
)
# One of them as vLLM writes it, which goes on unparsed.
_DELTA = re.compile(
    rb"event: (response\.(?:output_text|function_call_arguments|reasoning_text)\.delta)\n"
    rb'data: \{(?:"content_index":\d+,)?"delta":%b,"item_id":%b,(?:"logprobs":\[\],)?'
    rb'"output_index":\d+,"sequence_number":(0|[1-9]\d{0,8}),"type":"\1"\}\n\n'
    % (JSON_TEXT, JSON_TEXT)
)
_ENGINE_KEYS = ("kv_transfer_params", "ec_transfer_params", "input_messages", "output_messages")
_DEFAULTS: dict[str, Any] = {
    "error": None,
    "completed_at": None,
    "incomplete_details": None,
    "previous_response_id": None,
    "max_tool_calls": None,
    "reasoning": None,
    "safety_identifier": None,
    "prompt_cache_key": None,
    "usage": None,
}


def finished(body: dict[str, Any], asked: Asked) -> dict[str, Any]:
    """The response object with every key of the surface, and with what the product decides."""
    for key in _ENGINE_KEYS:
        body.pop(key, None)
    for key, value in _DEFAULTS.items():
        body.setdefault(key, value)
    body["model"] = asked.model
    body["store"] = asked.extra.get("store", True)
    body["background"] = False
    body["previous_response_id"] = asked.extra.get("previous_response_id")
    body["metadata"] = body.get("metadata") or {}
    body["text"] = body.get("text") or {"format": {"type": "text"}}
    body["top_logprobs"] = body.get("top_logprobs") or 0
    if body["completed_at"] is None and body.get("status") == "completed":
        body["completed_at"] = body.get("created_at")
    return body


class ResponseEditor(StreamEditor):
    """Response objects inside events are finished like a plain answer; usage comes with the last."""

    __slots__ = ("_number", "_response")

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        self.text = []
        self._response: dict[str, Any] = {}
        self._number = 0

    def feed(self, event: bytes) -> bytes:
        found = _DELTA.fullmatch(event)
        if found is not None and (text := text_in(found[2])) is not None:
            self._number = int(found[4])
            self.deltas += 1
            if self.text is not None:
                self.text.append(text)
            return event
        return self._parsed(event)

    def _parsed(self, event: bytes) -> bytes:
        name, data = split_event(event)
        if not data:
            return event if name or event.startswith(b":") else b""
        if data == b"[DONE]":
            return b""
        body = loads(data)
        kind = body.get("type")
        if kind == "error":
            raise EngineFailedError
        if type(number := body.get("sequence_number")) is int:
            self._number = number
        if kind in _DELTAS:
            self.deltas += 1
            if self.text is not None:
                self.text.append(str(body.get("delta", "")))
            return event
        response = body.get("response")
        if not isinstance(response, dict):
            return event
        return self._response_event(str(kind), body, response)

    def _response_event(self, kind: str, body: dict[str, Any], response: dict[str, Any]) -> bytes:
        finished(response, self.asked)
        self._response = response
        if kind in _TERMINAL:
            self.done = True
            self.failed = kind == "response.failed"
            self.result = response
            tokens = counted(response.get("usage"), "input_tokens", "output_tokens")
            self.tokens = tokens or self.tokens
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps(body))

    def tail(self) -> bytes:
        return b"data: [DONE]\n\n"

    def cut(self, tokens: Tokens) -> bytes:
        """`response.incomplete` with what was written so far, for the reason `max_output_tokens`."""
        part = {"type": "output_text", "text": "".join(self.text or ()), "annotations": []}
        message = {
            "type": "message",
            "role": "assistant",
            "status": "incomplete",
            "content": [part],
        }
        item_id = "msg_" + str(self._response.get("id", "")).removeprefix("resp_")
        total = tokens.prompt + tokens.completion
        response = {
            **self._response,
            "status": "incomplete",
            "incomplete_details": {"reason": "max_output_tokens"},
            "output": [{"id": item_id, **message}],
            "usage": {
                "input_tokens": tokens.prompt,
                "output_tokens": tokens.completion,
                "total_tokens": total,
            },
        }
        self.result = response
        body = {
            "type": "response.incomplete",
            "sequence_number": self._number + 1,
            "response": response,
        }
        return b"event: response.incomplete\ndata: %b\n\n" % orjson.dumps(body) + self.tail()


class ResponsesRules:
    @staticmethod
    def prepare(asked: Asked) -> None:
        data = asked.data
        check_common(data)
        if data.pop("background", None):
            raise NotSupportedError("background responses are not supported", status=501)
        _check_input(data.get("input"))
        _check_tools(data.get("tools"))
        for name in ("prompt", "conversation"):
            if data.get(name) is not None:
                raise NotSupportedError(f"{name} is not supported", param=name)
        store = data.get("store")
        if store is not None and not isinstance(store, bool):
            raise InvalidRequestError("store must be true or false", param="store")
        asked.extra["store"] = store is not False
        data["store"] = False  # the engine keeps nothing
        earlier = asked.extra.get("earlier")
        if earlier is not None:
            own = data["input"]
            items = [{"role": "user", "content": own}] if isinstance(own, str) else own
            data["input"] = [*earlier, *items]
            check_messages(data["input"], param="input")
        asked.extra["input"] = data["input"]

    @staticmethod
    def usage(body: dict[str, Any]) -> Tokens | None:
        return counted(body.get("usage"), "input_tokens", "output_tokens")

    @staticmethod
    def finish(body: dict[str, Any], asked: Asked) -> dict[str, Any]:
        return finished(body, asked)

    def editor(self, asked: Asked) -> StreamEditor | None:
        return ResponseEditor(asked)


def _check_input(given: Any) -> None:
    if isinstance(given, str):
        return
    check_messages(given, param="input")
    for item in given:
        if item.get("type") == "item_reference":
            raise NotSupportedError("item references are not supported", param="input")


def _check_tools(tools: Any) -> None:
    """Only functions: the other kinds name servers, containers or plug-ins of the engine."""
    for tool in tools or ():
        if not isinstance(tool, dict) or tool.get("type") != "function":
            raise NotSupportedError("only tools of type function are supported", param="tools")


def as_input(response: dict[str, Any]) -> list[dict[str, Any]]:
    """The output of a stored response as input items of the next one."""
    items: list[dict[str, Any]] = []
    for item in response.get("output") or ():
        if item.get("type") == "message":
            texts = [part.get("text", "") for part in item.get("content") or ()]
            items.append({"role": "assistant", "content": "".join(texts)})
        elif item.get("type") == "function_call":
            keys = ("type", "call_id", "name", "arguments")
            items.append({key: item.get(key) for key in keys})
    return items
