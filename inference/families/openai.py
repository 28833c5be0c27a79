"""OpenAI's chat completions, completions and embeddings, and the token counters beside them."""

from typing import Any

import orjson

from core.errors import (
    EngineFailedError,
    EngineUnreadableError,
    InvalidRequestError,
    NotSupportedError,
)
from inference.families.base import Asked, StreamEditor, Tokens, counted, loads
from inference.families.running_counts import RunningCounts, running_counts
from inference.request_rules import check_common, check_messages, check_prompt

_DONE, _DONES = b"data: [DONE]", (b"data: [DONE]", b"data:[DONE]")
_tuple = tuple.__new__  # what `Tokens` calls, without its own call
_NOT_FOR_CALLERS = frozenset({"kv_transfer_params", "ec_transfer_params"})


def ask_for_running_usage(asked: Asked) -> None:
    """Have the engine count in every chunk, and remember what the caller wanted to see of it."""
    options = asked.data.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise InvalidRequestError("stream_options must be an object", param="stream_options")
    options = dict(options or {})
    asked.keep_usage = options.get("include_usage") is True
    asked.keep_running_usage = options.get("continuous_usage_stats") is True
    options["include_usage"] = options["continuous_usage_stats"] = True
    asked.data["stream_options"] = options


def usage_of(tokens: Tokens) -> dict[str, int]:
    """Counts as the family writes them."""
    total = tokens.prompt + tokens.completion
    return {
        "prompt_tokens": tokens.prompt,
        "total_tokens": total,
        "completion_tokens": tokens.completion,
    }


class ChunkEditor(StreamEditor):
    """Chunks of chat completions and completions: usage is read, and shown only where asked for.

    One that looks as the one before it is cut by position (`running_counts`), any other is parsed.
    """

    __slots__ = ("_cached", "_completions", "_last", "_n", "_prompts", "_running")

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        self._n = asked.data.get("n") or 1
        self._completions: dict[int, int] = {}
        self._prompts: dict[int, int] = {}
        self._cached: dict[int, int] = {}
        self._running: RunningCounts | None = None
        self._last = b""

    def feed(self, event: bytes) -> bytes:
        running = self._running
        if running is not None and (out := running.cut(event)) is not None:
            self._last = event
            counts = _tuple(Tokens, (running.prompt, running.completion, running.cached))
            if len(self._completions) > 1 or running.cached or self._cached:
                self.tokens = self._summed(0, counts)
            else:  # as that, of one choice
                self._completions[0], self._prompts[0] = running.completion, running.prompt
                self.tokens = counts
            return out
        if event.startswith(_DONES):
            self.done = True
            return event
        if not event.startswith(b"data:"):
            return event if event.startswith(b":") else b""
        return self._parsed(event)

    def _parsed(self, event: bytes) -> bytes:
        chunk = loads(event[5:])
        if "error" in chunk:
            raise EngineFailedError
        self._last = event
        usage, choices = chunk.get("usage"), _choices(chunk)
        if usage is None:
            self._collect(choices)
        else:
            self.text = None  # the engine counts
            tokens = counted(usage, "prompt_tokens", "completion_tokens")
            if tokens is not None:
                index = choices[0].get("index") or 0 if choices else None
                self.tokens = tokens if index is None else self._summed(index, tokens)
                if index == 0:
                    keep = self.asked.keep_running_usage
                    self._running = running_counts(event, self.asked.model, keep=keep)
            if not self._shows(chunk):
                if not choices:
                    return b""
                del chunk["usage"]
                return self._written(chunk)
        return event if chunk.get("model") == self.asked.model else self._written(chunk)

    def _collect(self, choices: list[dict[str, Any]]) -> None:
        """What is streamed, for an engine that does not count as it goes: pieces, and the text."""
        if self.tokens is not None:
            return
        if self.text is None:
            self.text = []
        for choice in choices:
            delta = choice.get("delta")
            pieces = delta.values() if isinstance(delta, dict) else (choice.get("text"),)
            if texts := [piece for piece in pieces if isinstance(piece, str) and piece]:
                self.deltas += 1
                self.text += texts

    def _summed(self, index: int, tokens: Tokens) -> Tokens:
        """Running counts are per choice (and per prompt of a list); only the last chunk sums them."""
        self._completions[index] = tokens.completion
        self._prompts[index // self._n] = tokens.prompt
        if tokens.cached:
            self._cached[index // self._n] = tokens.cached
        elif len(self._completions) == 1 and not self._cached:
            return tokens
        prompt, completion = sum(self._prompts.values()), sum(self._completions.values())
        return Tokens(prompt, completion, sum(self._cached.values()))

    def cut(self, tokens: Tokens) -> bytes:
        """A last chunk for every choice that was under way, with the reason `length` (S-52)."""
        last = loads(self._last[5:]) if self._last else {}
        head = {key: value for key, value in last.items() if key not in {"choices", "usage"}}
        head["model"] = self.asked.model
        piece: dict[str, Any] = (
            {"delta": {}} if head.get("object") == "chat.completion.chunk" else {"text": ""}
        )
        ends = [
            {"index": index, **piece, "logprobs": None, "finish_reason": "length"}
            for index in sorted(self._completions) or [0]
        ]
        chunks: list[dict[str, Any]] = [{**head, "choices": ends}]
        if self.asked.keep_usage:
            chunks.append({**head, "choices": [], "usage": usage_of(tokens)})
        return b"".join(b"data: %b\n\n" % orjson.dumps(each) for each in chunks) + _DONE + b"\n\n"

    def _shows(self, chunk: dict[str, Any]) -> bool:
        if chunk.get("choices"):
            return self.asked.keep_running_usage
        return self.asked.keep_usage

    def _written(self, chunk: dict[str, Any]) -> bytes:
        chunk["model"] = self.asked.model
        return b"data: " + orjson.dumps(chunk) + b"\n\n"


def _choices(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of a chunk, each an object with a number, or none, for its index.

    Raises EngineUnreadableError.
    """
    found = chunk.get("choices") or []
    if type(found) is list and all(
        type(each) is dict and type(each.get("index") or 0) is int for each in found
    ):
        return found
    raise EngineUnreadableError


class _OpenAIRules:
    @staticmethod
    def usage(body: dict[str, Any]) -> Tokens | None:
        return counted(body.get("usage"), "prompt_tokens", "completion_tokens")

    @staticmethod
    def finish(body: dict[str, Any], asked: Asked) -> dict[str, Any] | None:
        if body.get("model") == asked.model and body.keys().isdisjoint(_NOT_FOR_CALLERS):
            return None
        body["model"] = asked.model
        for name in _NOT_FOR_CALLERS:
            body.pop(name, None)
        return body

    def editor(self, asked: Asked) -> StreamEditor | None:
        return ChunkEditor(asked)


class ChatRules(_OpenAIRules):
    @staticmethod
    def prepare(asked: Asked) -> None:
        data = asked.data
        check_common(data)
        check_messages(data.get("messages"))
        if asked.stream:
            ask_for_running_usage(asked)
        if (penalty := data.pop("repeat_penalty", None)) is not None:
            data.setdefault("repetition_penalty", penalty)


class CompletionsRules(_OpenAIRules):
    @staticmethod
    def prepare(asked: Asked) -> None:
        check_common(asked.data)
        check_prompt(asked.data.get("prompt"), param="prompt")
        if asked.stream:
            ask_for_running_usage(asked)


class EmbeddingsRules(_OpenAIRules):
    @staticmethod
    def prepare(asked: Asked) -> None:
        data = asked.data
        check_common(data)
        if data.get("messages") is not None:
            if data.get("input") is not None:
                raise InvalidRequestError("give input or messages, not both", param="input")
            check_messages(data["messages"])
        else:
            check_prompt(data.get("input"), param="input")

    def editor(self, asked: Asked) -> StreamEditor | None:
        return None


class TokenizeRules:
    """`{content}` in, `{tokens}` out (surface, section 4); the engine's own keys work as well."""

    @staticmethod
    def prepare(asked: Asked) -> None:
        data = asked.data
        check_common(data)
        if (content := data.pop("content", None)) is not None:
            if not isinstance(content, str):
                raise InvalidRequestError("content must be a text", param="content")
            data["prompt"] = content
            data.setdefault("add_special_tokens", False)
        if data.get("messages") is not None:
            check_messages(data["messages"])
        elif not isinstance(data.get("prompt"), str):
            raise InvalidRequestError("content must be a text", param="content")

    @staticmethod
    def usage(_body: dict[str, Any]) -> Tokens | None:
        return Tokens(0, 0)

    @staticmethod
    def finish(body: dict[str, Any], _asked: Asked) -> dict[str, Any]:
        return {key: value for key, value in body.items() if value is not None}

    def editor(self, _asked: Asked) -> StreamEditor | None:
        return None


class DetokenizeRules(TokenizeRules):
    """`{tokens}` in, `{content}` out."""

    @staticmethod
    def prepare(asked: Asked) -> None:
        tokens = asked.data.get("tokens")
        if not isinstance(tokens, list) or any(
            type(token) is not int or not 0 <= token < 2**31 for token in tokens
        ):
            raise InvalidRequestError("tokens must be a list of token ids", param="tokens")
        if len(tokens) > 1_000_000:
            raise NotSupportedError("too many tokens", param="tokens")

    @staticmethod
    def finish(body: dict[str, Any], _asked: Asked) -> dict[str, Any]:
        return {"content": body.get("prompt", "")}
