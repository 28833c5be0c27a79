"""Streams by position against plain JSON: what callers get and what is counted must be the same.

The streams are the real engine's, as `bench.record_streams` wrote them down, the stub engine's, and
made-up ones with all that looks like counts and is none. Each is cut into pieces anywhere.
"""

import asyncio
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import stub_engine
from core.call import Answer, Call
from core.errors import EngineFailedError
from inference import forwarding, relay
from inference.endpoints import ENDPOINTS
from inference.engine_table import Target
from inference.families import RULES
from inference.families.base import Asked, Tokens
from inference.families.openai import ask_for_running_usage
from inference.families.running_counts import running_counts
from inference.tests.plain_streams import plainly
from inference.tests.rig import PATHS
from usage.metering import Event

RECORDED = json.loads(Path(__file__).with_name("recorded_streams.json").read_text())["streams"]
NAMES = {path: name for name, path in PATHS.items()}


class Pieces:
    """An engine's answer that arrives in these pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._left = [piece for piece in pieces if piece]

    async def pour(self, sink: Callable[[bytes], bool]) -> bool:
        while self._left:
            if not sink(self._left.pop(0)):
                return True
        return False


class Reader:
    """A caller who takes some pieces at once; the others go by way of the request's task."""

    def __init__(self, sent: list[bytes]) -> None:
        self._sent = sent

    def push(self, body: bytes) -> bool:
        if takes := len(body) % 3 != 0:
            self._sent.append(body)
        return takes


def forwarded(path: str, asked: Asked, pieces: list[bytes]) -> tuple[bytes, Any, Any]:
    """What the caller got of a stream, its editor, its event."""
    sent: list[bytes] = []

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    call = Call(method="POST", path=path, query=b"", headers={}, receive=send, client="")
    endpoint = ENDPOINTS[NAMES[path]]
    rules = RULES[endpoint.rules]
    editor = rules.editor(asked)
    event = Event(call)
    target = Target("m", "m", "http://127.0.0.1:9", state="ready", capabilities=frozenset())
    answer = Answer(send, [], Reader(sent))
    exchange = forwarding.Exchange(call, answer, endpoint, rules, asked, target, event)
    asyncio.run(relay.stream(exchange, Pieces(pieces), editor))
    return b"".join(sent) + asked.extra["last"], editor, event


def asked_for(path: str, body: dict[str, Any], *, called: str, served: str) -> Asked:
    asked = Asked(dict(body), called, served, stream=True)
    if "completions" in path:
        ask_for_running_usage(asked)
    return asked


def cut_at(raw: bytes, places: list[int]) -> list[bytes]:
    marks = [0, *sorted(place % (len(raw) + 1) for place in places), len(raw)]
    return [raw[a:b] for a, b in pairwise(marks)]


def events_in(raw: bytes) -> list[bytes]:
    return [part + b"\n\n" for part in raw.replace(b"\r\n", b"\n").split(b"\n\n") if part]


def agree(path: str, body: dict[str, Any], raw: bytes, pieces: list[bytes], called: str) -> None:
    """The lane and plain JSON say the same of a stream."""
    served = "other" if called != "m" else "m"
    out, editor, event = forwarded(
        path, asked_for(path, body, called=called, served=served), pieces
    )
    wanted = plainly(path, asked_for(path, body, called=called, served=served), events_in(raw))
    assert [said(each) for each in events_in(out)] == [said(each) for each in wanted.events]
    assert (event.prompt_tokens, event.completion_tokens, event.cached_tokens) == wanted.tokens
    assert not event.estimated
    assert editor.done
    if wanted.text is not None:
        assert "".join(editor.text) == wanted.text
        assert editor.deltas == wanted.deltas


def said(event: bytes) -> Any:
    """An event by what it says: its name, and its data as any parser has it."""
    name, data = b"", b""
    for line in event.split(b"\n"):
        if line.startswith(b"data:"):
            data = line[5:].strip()
        elif line.startswith(b"event:"):
            name = line[6:].strip()
    return name, json.loads(data) if data.startswith(b"{") else data


def stubbed(path: str, n: int = 4, **more: Any) -> tuple[str, dict[str, Any], bytes]:
    body = {"stream_options": {"continuous_usage_stats": True}, "stub": more}
    before, each, after = stub_engine.events(path, body, n)
    return path, {}, b"".join([*before, *each, *after])


STREAMS = {
    **{name: (r["path"], r["asked"], r["stream"].encode()) for name, r in RECORDED.items()},
    "stub chat": stubbed("/v1/chat/completions"),
    "stub completions": stubbed("/v1/completions"),
    "stub messages": stubbed("/v1/messages"),
    "stub responses": stubbed("/v1/responses"),
}
SHOWN = [
    {},
    {"include_usage": True},
    {"include_usage": True, "continuous_usage_stats": True},
    {"continuous_usage_stats": True},
]


@pytest.mark.parametrize("called", ["m", 'team/"best"'])
@pytest.mark.parametrize("options", SHOWN, ids=str)
@pytest.mark.parametrize("name", STREAMS)
def test_a_recorded_stream_event_by_event(name, options, called):
    path, body, raw = STREAMS[name]
    if "completions" in path:
        body = {**body, "stream_options": options}

    agree(path, body, raw, events_in(raw), called)
    agree(path, body, raw, [raw], called)
    agree(path, body, raw.replace(b"\n", b"\r\n"), events_in(raw), called)


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(sorted(STREAMS)),
    options=st.sampled_from(SHOWN),
    places=st.lists(st.integers(0, 1 << 20), max_size=40),
)
def test_a_recorded_stream_cut_anywhere(name, options, places):
    path, body, raw = STREAMS[name]
    if "completions" in path:
        body = {**body, "stream_options": options}

    agree(path, body, raw, cut_at(raw, places), "mine")


LIKE_COUNTS = st.sampled_from(
    [
        '"usage":{"prompt_tokens":1,"total_tokens":2,"completion_tokens":1}}',
        '}],"usage":{"prompt_tokens":1,"total_tokens":2,"completion_tokens":1}}\n\n',
        '\\"}],\\"usage\\":{',
        "usage",
        '"choices":[{"index":0,',
        "data: [DONE]\n\n",
        "\u2028\u0000\x7f\\",
        "🙂ünï",
    ]
)
TEXTS = st.one_of(LIKE_COUNTS, st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
LOGPROBS = st.builds(
    lambda text: {"content": [{"token": text, "logprob": -0.5, "bytes": [1], "top_logprobs": []}]},
    TEXTS,
)
NESTED = st.builds(
    lambda text: {"x": [{"index": 0, "t": text}], "usage": {"prompt_tokens": 9, "total_tokens": 9}},
    TEXTS,
)
DELTAS = st.one_of(
    st.builds(lambda text: {"content": text}, TEXTS),
    st.builds(lambda text: {"reasoning": text, "reasoning_content": text}, TEXTS),
    st.builds(
        lambda text: {"tool_calls": [{"index": 0, "id": "t", "function": {"arguments": text}}]},
        TEXTS,
    ),
    NESTED,
)
CHOICES = st.fixed_dictionaries(
    {"delta": DELTAS},
    optional={
        "logprobs": st.one_of(st.none(), LOGPROBS),
        "finish_reason": st.none(),
        "usage": NESTED,
    },
)
DETAILS = st.fixed_dictionaries(
    {},
    optional={
        "prompt_tokens_details": st.one_of(st.none(), st.just({"cached_tokens": 3})),
        "completion_tokens_details": st.one_of(
            st.none(), st.builds(lambda n: {"reasoning_tokens": n}, st.integers(0, 9))
        ),
    },
)
AFTER = st.one_of(st.just({}), st.just({"system_fingerprint": "}]}"}), st.just({"metrics": None}))


@st.composite
def made_up(draw: Any) -> tuple[bytes, int]:
    """A stream of chat chunks of one or more choices, as one writer or another puts it, and its `n`."""
    n = draw(st.sampled_from([1, 1, 1, 2]))
    separators = draw(st.sampled_from([(",", ":"), (",", ":"), (", ", ": "), (" ,", " :")]))
    is_ascii, first = (
        draw(st.booleans()),
        draw(st.sampled_from(["head", "head", "choices", "usage"])),
    )
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": draw(TEXTS)}
    counted = dict.fromkeys(range(n), 0)
    out = []
    for choice in draw(st.lists(CHOICES, min_size=1, max_size=8)):
        index = draw(st.integers(0, n - 1))
        counted[index] += draw(st.sampled_from([1, 1, 1, 0, 4]))
        prompt = draw(st.sampled_from([12, 12, 12, 12, 1, 312]))
        usage = {"prompt_tokens": prompt, "total_tokens": prompt + counted[index]}
        usage |= {"completion_tokens": counted[index], **draw(DETAILS)}
        parts = {"choices": [{"index": index, **choice}], "usage": usage}
        chunk = {**head, **parts, **draw(AFTER)}
        if first != "head":
            chunk = {first: chunk[first], **chunk}
        out.append(json.dumps(chunk, separators=separators, ensure_ascii=is_ascii))
    total = {"prompt_tokens": 12, "total_tokens": 0, "completion_tokens": sum(counted.values())}
    out += [json.dumps({**head, "choices": [], "usage": total}, separators=separators), "[DONE]"]
    colon = draw(st.sampled_from(["data: ", "data: ", "data:"]))
    return "".join(f"{colon}{each}\n\n" for each in out).encode(), n


@settings(max_examples=400, deadline=None)
@given(
    made=made_up(),
    options=st.sampled_from(SHOWN),
    places=st.one_of(st.none(), st.lists(st.integers(0, 1 << 16), max_size=30)),
    called=st.sampled_from(["m", 'my "model" ü']),
)
def test_a_made_up_stream_cut_anywhere(made, options, places, called):
    raw, n = made
    pieces = events_in(raw) if places is None else cut_at(raw, places)

    path, body = "/v1/chat/completions", {"n": n, "stream_options": options}
    agree(path, body, raw, pieces, called)
    asked = asked_for(path, body, called=called, served="m")
    editor = RULES["chat"].editor(asked)
    counts = [(editor.feed(event), editor.tokens)[1] for event in events_in(raw)]
    assert counts[:-1] == plainly(path, asked, events_in(raw)).counts


@settings(max_examples=200, deadline=None)
@given(
    texts=st.lists(TEXTS, min_size=1, max_size=8),
    family=st.sampled_from(["messages", "thinking", "responses"]),
    is_ascii=st.booleans(),
    places=st.one_of(st.none(), st.lists(st.integers(0, 1 << 16), max_size=30)),
)
def test_deltas_of_the_other_families_cut_anywhere(texts, family, is_ascii, places):
    path = "/v1/responses" if family == "responses" else "/v1/messages"
    before, _, after = stub_engine.events(path, {}, 1)
    deltas = [delta_of(family, text, number) for number, text in enumerate(texts)]
    each = [
        f"event: {delta['type']}\ndata: {json.dumps(delta, separators=(',', ':'), ensure_ascii=is_ascii)}\n\n"
        for delta in deltas
    ]
    raw = b"".join([*before, *(one.encode() for one in each), *after])
    pieces = events_in(raw) if places is None else cut_at(raw, places)

    agree(path, {}, raw, pieces, "mine")


def delta_of(family: str, text: str, number: int) -> dict[str, Any]:
    if family == "responses":
        delta = {"content_index": 0, "delta": text, "item_id": "msg_1", "logprobs": []}
        more = {"sequence_number": number, "type": "response.output_text.delta"}
        return {**delta, "output_index": 0, **more}
    kind = {"messages": "text", "thinking": "thinking"}[family]
    delta = {"type": f"{kind}_delta", kind: text}
    return {"type": "content_block_delta", "delta": delta, "index": number % 2}


def test_most_of_the_real_engines_chunks_are_not_parsed(monkeypatch):
    """The way by position is taken, or the test above would hold plain JSON against itself."""
    parsed = []
    real = forwarding.loads
    for family in ("openai", "anthropic", "responses"):
        monkeypatch.setattr(
            f"inference.families.{family}.loads", lambda raw: parsed.append(raw) or real(raw)
        )
    for name, most in (("chat", 3), ("completions", 3), ("messages", 8), ("responses", 12)):
        path, body, raw = STREAMS[name]
        parsed.clear()
        forwarded(path, asked_for(path, body, called="mine", served="m"), events_in(raw))
        assert len(parsed) <= most, name


def test_a_stream_that_is_cut_at_its_quota_goes_on_from_the_chunk_before():
    """The first chunk alone has what is said once; a response's events are numbered on."""
    path, body, raw = STREAMS["chat, token ids"]
    editor = RULES["chat"].editor(asked_for(path, body, called="mine", served="m"))
    for event in events_in(raw)[:4]:
        editor.feed(event)
    end = said(events_in(editor.cut(Tokens(53, 3)))[0])[1]
    before = said(events_in(raw)[3])[1]
    assert end.keys() == before.keys() - {"usage"}
    assert (end["id"], end["model"]) == (before["id"], "mine")

    path, body, raw = STREAMS["responses"]
    editor = RULES["responses"].editor(asked_for(path, body, called="mine", served="m"))
    for event in events_in(raw)[:9]:
        editor.feed(event)
    number = said(events_in(raw)[8])[1]["sequence_number"]
    assert said(events_in(editor.cut(Tokens(53, 3)))[0])[1]["sequence_number"] == number + 1


def test_counts_that_are_there_twice_are_not_cut_by_position():
    usage = b'"usage":{"prompt_tokens":1,"total_tokens":2,"completion_tokens":1}'
    event = b'data: {%b,"model":"m","choices":[{"index":0,"delta":{}}],%b}\n\n' % (usage, usage)
    assert running_counts(event, "m", keep=False) is None

    path = "/v1/chat/completions"
    editor = RULES["chat"].editor(asked_for(path, {}, called="m", served="m"))
    assert b"usage" not in editor.feed(event) + editor.feed(event)


@pytest.mark.parametrize(
    "bad", [b"data: {not json\n\n", b'data: {"error":{"message":"/root"}}\n\n', b"data: []\n\n"]
)
def test_garbage_after_good_chunks_still_ends_a_stream(bad):
    path, body, raw = STREAMS["chat"]
    good = events_in(raw)[:5]

    with pytest.raises(EngineFailedError):
        forwarded(path, asked_for(path, body, called="m", served="m"), [*good, bad])
