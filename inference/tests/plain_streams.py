"""Streams as the simplest reader and writer of JSON would pass them on: what the lane is held against."""

import json
from dataclasses import dataclass, field
from typing import Any

from inference.families.anthropic import message_id
from inference.families.base import Asked
from inference.families.responses import finished


@dataclass
class Plain:
    """`events` as the caller gets them, `tokens` (prompt, completion, cached), and what was streamed."""

    events: list[bytes] = field(default_factory=list)
    tokens: tuple[int, int, int] = (0, 0, 0)
    text: str | None = None
    deltas: int = 0
    counts: list[tuple[int, int, int]] = field(default_factory=list)  # after each event of chunks


def plainly(path: str, asked: Asked, events: list[bytes]) -> Plain:
    if path == "/v1/messages":
        return _messages(asked, events)
    if path == "/v1/responses":
        return _responses(asked, events)
    return _chunks(asked, events)


def _chunks(asked: Asked, events: list[bytes]) -> Plain:
    found = Plain()
    n = asked.data.get("n") or 1
    by_choice: dict[int, int] = {}
    by_prompt: dict[int, int] = {}
    cached: dict[int, int] = {}
    for event in events:
        data = event.removeprefix(b"data:").strip()
        if data == b"[DONE]":
            found.events.append(event)
            break
        chunk = json.loads(data)
        chunk["model"] = asked.model
        usage = chunk.get("usage")
        if usage is not None:
            prompt, completion = usage["prompt_tokens"], usage["completion_tokens"]
            of_cache = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
            of_cache = min(of_cache, prompt)
            if chunk["choices"]:
                index = chunk["choices"][0]["index"]
                by_choice[index], by_prompt[index // n] = completion, prompt
                if of_cache:
                    cached[index // n] = of_cache
                sums = (by_prompt, by_choice, cached)
                found.tokens = tuple(sum(each.values()) for each in sums)
            else:
                found.tokens = (prompt, completion, of_cache)
            found.counts.append(found.tokens)
            keeps = asked.keep_running_usage if chunk["choices"] else asked.keep_usage
            if not keeps:
                del chunk["usage"]
                if not chunk["choices"]:
                    continue
        found.events.append(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    return found


def _read(event: bytes) -> tuple[bytes, dict[str, Any] | None]:
    lines = dict(line.split(b":", 1) for line in event.split(b"\n") if b":" in line)
    data = lines.get(b"data", b"").strip()
    return lines.get(b"event", b"").strip(), None if data == b"[DONE]" else json.loads(data)


def _written(name: bytes, body: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name, json.dumps(body).encode())


def _messages(asked: Asked, events: list[bytes]) -> Plain:
    found = Plain(text="")
    prompt = completion = 0
    for event in events:
        name, body = _read(event)
        if body is None:
            continue
        usage = body.get("usage")
        if body["type"] == "message_start":
            usage = body["message"]["usage"]
            body["message"]["model"] = asked.model
            body["message"]["id"] = message_id(body["message"]["id"])
        elif body["type"] == "content_block_delta":
            found.deltas += 1
            keys = ("text", "partial_json", "thinking")
            found.text += "".join(body["delta"].get(key) or "" for key in keys)
        if usage:
            prompt, completion = usage["input_tokens"] or prompt, usage["output_tokens"]
        found.events.append(_written(name, body))
    found.tokens = (prompt, completion, 0)
    return found


def _responses(asked: Asked, events: list[bytes]) -> Plain:
    found = Plain(text="")
    for event in events:
        name, body = _read(event)
        if body is None:
            continue
        if str(body["type"]).endswith(
            (".output_text.delta", "arguments.delta", "reasoning_text.delta")
        ):
            found.deltas += 1
            found.text += body["delta"]
        if isinstance(body.get("response"), dict):
            finished(body["response"], asked)
            if usage := body["response"]["usage"]:
                cached = (usage.get("input_tokens_details") or {}).get("cached_tokens") or 0
                found.tokens = (usage["input_tokens"], usage["output_tokens"], cached)
        found.events.append(_written(name, body))
    found.events.append(b"data: [DONE]\n\n")
    return found
