"""Records streams of the real engine, as it writes them, for `test_recorded_streams`.

`python -m bench.record_streams` starts vLLM with the default model by the recipe's own words, asks it for a short
stream of each kind, and writes `inference/tests/recorded_streams.json`. Then once more with the parser that the
recipe does not start, for tool calls, which a model this small makes where it is forced to. Reasoning is not
among them: the parsers want words in the vocabulary that it does not have.
"""

import json
from typing import Any

import httpx

from bench.processes import ROOT
from bench.real_engine import start_engine
from tests.servers import CHAT as MODEL

RECORDED = ROOT / "inference" / "tests" / "recorded_streams.json"
COMMAND = "python -m bench.record_streams"
COUNTS = {"include_usage": True, "continuous_usage_stats": True}
HI = [{"role": "user", "content": 'Say "usage": {"a\\b"} and ünïcödé 🙂 in one line.'}]
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": (CHAT, {"messages": HI, "max_tokens": 24, "stream_options": COUNTS}),
    "chat, not counted": (CHAT, {"messages": HI, "max_tokens": 8}),
    "chat, counted at the end": (
        CHAT,
        {"messages": HI, "max_tokens": 8, "stream_options": {"include_usage": True}},
    ),
    "chat, logprobs": (
        CHAT,
        {
            "messages": HI,
            "max_tokens": 12,
            "logprobs": True,
            "top_logprobs": 2,
            "stream_options": COUNTS,
        },
    ),
    "chat, two choices": (
        CHAT,
        {"messages": HI, "max_tokens": 12, "n": 2, "stream_options": COUNTS},
    ),
    "chat, token ids": (
        CHAT,
        {"messages": HI, "max_tokens": 6, "return_token_ids": True, "stream_options": COUNTS},
    ),
    "completions": (
        TEXT,
        {"prompt": '{"usage": "', "max_tokens": 24, "stream_options": COUNTS},
    ),
    "completions, logprobs": (
        TEXT,
        {"prompt": '{"usage": "', "max_tokens": 12, "logprobs": 2, "stream_options": COUNTS},
    ),
    "completions, two prompts": (
        TEXT,
        {"prompt": ["a b c", "Once"], "max_tokens": 8, "n": 2, "stream_options": COUNTS},
    ),
    "messages": ("/v1/messages", {"messages": HI, "max_tokens": 24}),
    "responses": ("/v1/responses", {"input": HI, "max_output_tokens": 24, "store": False}),
}
PARSERS = ("--enable-auto-tool-choice", "--tool-call-parser", "hermes")
WHERE = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 24}},
    "required": ["city"],
}
WEATHER = {"name": "weather", "description": 'Says the "usage" of umbrellas.', "parameters": WHERE}
FUNCTION = {"type": "function", "function": WEATHER}
ANTHROPIC = {"name": "weather", "description": WEATHER["description"], "input_schema": WHERE}
NAMED = {"type": "function", "function": {"name": "weather"}}
CALLED: dict[str, tuple[str, dict[str, Any]]] = {
    "chat, a tool called": (
        CHAT,
        {
            "messages": HI,
            "max_tokens": 48,
            "tools": [FUNCTION],
            "tool_choice": NAMED,
            "stream_options": COUNTS,
        },
    ),
    "messages, a tool called": (
        "/v1/messages",
        {
            "messages": HI,
            "max_tokens": 48,
            "tools": [ANTHROPIC],
            "tool_choice": {"type": "tool", "name": "weather"},
        },
    ),
    "responses, a tool called": (
        "/v1/responses",
        {
            "input": HI,
            "max_output_tokens": 48,
            "store": False,
            "tools": [{"type": "function", **WEATHER}],
            "tool_choice": "required",
        },
    ),
}


def streams(asked: dict[str, tuple[str, dict[str, Any]]], *flags: str) -> dict[str, Any]:
    """What an engine that is started with `flags` besides answers to each."""
    engine, url, _ = start_engine(*flags)
    found = {}
    try:
        for name, (path, body) in asked.items():
            whole = {**body, "model": MODEL, "stream": True, "temperature": 1.0, "seed": 7}
            answer = httpx.post(url + path, json=whole, timeout=300)
            print(name, answer.status_code, len(answer.content), flush=True)
            if answer.status_code == 200:
                found[name] = {"path": path, "asked": whole, "stream": answer.text}
    finally:
        engine.stop()
    return found


def main() -> None:
    found = streams(ASKED) | streams(CALLED, *PARSERS)
    head = {"made by": COMMAND, "engine": "vLLM with " + MODEL, "streams": found}
    RECORDED.write_text(json.dumps(head, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
