"""Editors: usage is read from every stream and shown only where the caller asked for it."""

import orjson
import pytest

from bench.stub_engine import events
from core.errors import EngineFailedError
from inference.families import RULES
from inference.families.base import Asked, Tokens


def run(rules, path, *, model="m", served="m", n=3, body=None):
    asked = Asked({"messages": [], "stream": True, **(body or {})}, model, served, stream=True)
    if rules == "chat":
        from inference.families.openai import ask_for_running_usage

        ask_for_running_usage(asked)
    editor = RULES[rules].editor(asked)
    before, each, after = events(path, asked.data, n)
    out = b"".join(editor.feed(event) for event in [*before, *each, *after]) + editor.tail()
    return editor, out


def chunks(out):
    lines = [line[6:] for line in out.split(b"\n") if line.startswith(b"data: ")]
    return [orjson.loads(line) for line in lines if line != b"[DONE]"]


def test_a_callers_stream_shows_no_usage_unless_asked():
    editor, out = run("chat", "/v1/chat/completions")

    assert editor.tokens == Tokens(12, 3)
    assert editor.done
    assert b"usage" not in out
    assert len(chunks(out)) == 3
    assert out.endswith(b"data: [DONE]\n\n")


def test_include_usage_gives_the_last_chunk_alone():
    _, out = run("chat", "/v1/chat/completions", body={"stream_options": {"include_usage": True}})

    found = chunks(out)
    assert ["usage" in chunk for chunk in found] == [False, False, False, True]
    assert found[-1]["choices"] == []


def test_running_usage_is_kept_for_who_asks_for_it():
    options = {"include_usage": True, "continuous_usage_stats": True}
    _, out = run("chat", "/v1/chat/completions", body={"stream_options": options})

    assert [chunk["usage"]["completion_tokens"] for chunk in chunks(out)] == [1, 2, 3, 3]


@pytest.mark.parametrize(
    ("rules", "path"), [("chat", "/v1/chat/completions"), ("completions", "/v1/completions")]
)
def test_the_model_is_called_what_the_caller_called_it(rules, path):

    _, out = run(rules, path, model="team/best", served="m2")
    assert {chunk["model"] for chunk in chunks(out)} == {"team/best"}


def test_anthropic_counts_and_names():
    editor, out = run("messages", "/v1/messages", model="mine")

    assert editor.tokens == Tokens(12, 3)
    assert editor.done
    start = chunks(out)[0]["message"]
    assert start["model"] == "mine"
    assert start["id"].startswith("msg_")
    assert b"[DONE]" not in out
    assert "".join(editor.text) == " token token token"


def test_responses_are_finished_in_every_event():
    editor, out = run("responses", "/v1/responses", model="mine")

    assert editor.tokens == Tokens(12, 3)
    assert editor.result["model"] == "mine"
    assert chunks(out)[0]["response"]["store"] is True
    assert out.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    "event",
    [b"data: {not json\n\n", b"data: []\n\n", b'data: {"error": {"message": "/root/x"}}\n\n'],
)
@pytest.mark.parametrize("rules", ["chat", "messages", "responses"])
def test_garbage_and_the_engines_own_errors_end_a_stream(rules, event):
    editor = RULES[rules].editor(Asked({}, "m", "m", stream=True))
    if rules != "chat" and b"error" in event:
        event = b'data: {"type": "error", "error": {"message": "/root/x"}}\n\n'

    with pytest.raises(EngineFailedError) as caught:
        editor.feed(event)

    assert "/root" not in caught.value.message


@pytest.mark.parametrize("with_usage", [True, False])
@pytest.mark.parametrize(
    "choices",
    [
        b'{"index": 0}',
        b'"text"',
        b"7",
        b"[null]",
        b'["text"]',
        b'[{"index": "0"}]',
        b'[{"index": [1]}]',
    ],
)
def test_choices_that_are_none_end_a_stream(choices, with_usage):
    usage = b', "usage": {"prompt_tokens": 1, "completion_tokens": 1}' if with_usage else b""
    editor = RULES["chat"].editor(Asked({}, "m", "m", stream=True))

    with pytest.raises(EngineFailedError):
        editor.feed(b'data: {"model": "m", "choices": ' + choices + usage + b"}\n\n")


def test_running_counts_of_several_choices_and_prompts_are_summed():
    asked = Asked({"n": 2, "prompt": ["a", "b"]}, "m", "m", stream=True)
    editor = RULES["completions"].editor(asked)

    for index, (prompt, completion) in enumerate([(3, 10), (3, 20), (4, 30), (4, 40)]):
        usage = {"prompt_tokens": prompt, "completion_tokens": completion}
        chunk = {"choices": [{"index": index, "text": "x"}], "usage": usage}
        editor.feed(b"data: " + orjson.dumps(chunk) + b"\n\n")

    assert editor.tokens == Tokens(7, 100)
