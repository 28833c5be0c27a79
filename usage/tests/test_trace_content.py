"""R-11, R-30: what is kept of headers and bodies: cut, without secrets, without prompts where set."""

import time
from base64 import b64decode

import orjson
import pytest

from core.errors import EngineFailedError
from usage.traces.content import BodyKeeper, readable
from usage.traces.marks import said
from usage.traces.terms import TraceTerms

ID, KEY = b"0198a000-0000-7000-8000-000000000001", "lai-" + "0123456789abcdef" * 4
CHAT = {"model": "m", "messages": [{"role": "user", "content": "my secret plan"}], "n": 1}


def kept(request, *answer, headers=None, **terms):
    keeper = BodyKeeper(TraceTerms(bodies=True, **terms), request)
    for piece in answer:
        keeper.take(piece)
    found = orjson.loads(keeper.line(ID, headers or {}, "u1"))
    bodies = [(b64decode(found[name]["b"]), found[name]["n"], found[name]["cut"]) for name in "qa"]
    return found["qh"], *bodies


def test_r11_bodies_are_kept_as_they_were_sent():
    _, asked, answered = kept(b'{"model": "m"}', b"data: 1\n\n", b"data: [DONE]\n\n")

    assert asked == (b'{"model": "m"}', 14, False)
    assert answered == (b"data: 1\n\ndata: [DONE]\n\n", 23, False)


@pytest.mark.parametrize("n", [0, 9, 10, 11, 5000, 200_000])
def test_set_tracing_max_body_bytes_cuts_each_body(n):
    """SET:tracing_max_body_bytes: the length is told as it was."""
    raw = b"x" * n
    pieces = [raw[i : i + 1000] for i in range(0, n, 1000)]

    _, asked, answered = kept(raw, *pieces, body_bytes=10)

    assert asked == answered == (raw[:10], n, n > 10)


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "Proxy-Authorization",
        "Cookie",
        "Set-Cookie",
        "X-Api-Key",
        "Xi-Api-Key",
        "X-Auth-Token",
        "X-Vault-Token",
        "X-Client-Secret",
    ],
)
def test_r11_headers_with_credentials_are_redacted(name):
    headers = {name.lower().encode(): b"session=abc; token=def", b"accept": b"*/*"}

    shown, _, _ = kept(b"{}", headers=headers)

    assert shown == {name.title(): ["[redacted]"], "Accept": ["*/*"]}


def test_r11_a_credential_in_another_header_or_a_body_is_redacted():
    headers = {
        b"authorization": b"Bearer legacy-key-of-mine",
        b"referer": f"https://x.example/?token={KEY}".encode(),
    }
    asked = f'{{"a": "legacy-key-of-mine", "b": "{KEY}", "c": "Bearer abc.def"}}'.encode()

    shown, (question, _, _), (answer, _, _) = kept(asked, asked, headers=headers)

    for text in (str(shown), question.decode(), answer.decode()):
        assert "legacy-key-of-mine" not in text
        assert KEY not in text
        assert "abc.def" not in text


@pytest.mark.parametrize(
    ("body", "kept_of_it"),
    [
        (b'{"tools":[{"headers":{"X-Api-Key":"SECRET"}}],"n":1}', b'"n":1'),
        (b'{"tools":[{"authorization" : "SECRET\\"SECRET"}],"n":1}', b'"n":1'),
        (b'{"password": "SECRET", "author": "Ann"}', b'"author": "Ann"'),
        (rb'{"arguments": "{\"db_password\": \"SECRET\", \"x\": \"y\"}"}', rb"\"x\": \"y\""),
        (b'{"access_token": "SECRETSECRETSECRET", "max_tokens": 5}', b'"max_tokens": 5'),
        (b'{"token": "Hello", "client_secret": "SECRET"}', b'"token": "Hello"'),
        (b'{"server_url": "https://x.example/mcp?api_key=SECRET&a=b"}', b"&a=b"),
    ],
)
def test_r11_somebody_elses_credential_in_a_body_is_redacted_too(body, kept_of_it):
    """Keys of tools and servers, in fields and query strings; what stands beside them stays."""
    _, (asked, _, _), (answered, _, _) = kept(body, body)

    assert b"SECRET" not in asked + answered
    assert kept_of_it in asked


@pytest.mark.parametrize(
    ("raw", "headers", "terms"),
    [
        (b"eyJaaaaa" * 9000, {}, {}),
        (b'"tokentoken' * 7000, {}, {}),
        (b'\\"' * 35000, {}, {}),
        (b"data:\n" * 2_500_000, {}, {"redact_prompts": True}),
        (b"[" + b"{}," * 349_000 + b"{}]", {}, {"redact_prompts": True}),
        (b"x" * 1_000_000, {b"cookie": b";".join(b"%08d" % i for i in range(3500))}, {}),
    ],
)
def test_a_body_never_holds_up_the_loop(raw, headers, terms):
    """What a caller sends is taken apart in the worker's loop: these took seconds."""
    before = time.process_time()

    kept(raw, headers=headers, body_bytes=1024 * 1024 if headers else 65_536, **terms)

    assert time.process_time() - before < 0.3


def test_r11_more_credentials_than_can_be_looked_for_leave_nothing_of_the_bodies():
    cookies = b";".join(b"%08d" % i for i in range(500))

    _, (asked, n_bytes, _), _ = kept(b"00000499", headers={b"cookie": cookies})

    assert (asked, n_bytes) == (b"[redacted]", 8)


def test_r11_an_error_does_not_repeat_a_credential():
    """What a trace says of an error: an engine, or we, may quote what was sent."""
    headers = {b"authorization": b"Bearer legacy-key-of-mine"}
    error = EngineFailedError(f"not a number: legacy-key-of-mine {KEY} \ud800" + "x" * 500)

    found = said(error, TraceTerms(), headers)

    assert b"legacy-key" not in found
    assert KEY.encode() not in found
    assert len(orjson.loads(b"{" + found.rstrip(b",") + b"}")["er"]) == 300
    assert readable("a model's name", headers, 255) == "a model's name"


@pytest.mark.parametrize("body_bytes", range(40, 80, 3))
def test_r11_a_credential_at_the_cut_is_not_kept_in_part(body_bytes):
    raw = b'{"padding": "' + b"x" * 30 + b'", "key": "' + KEY.encode() + b'"}'

    _, (asked, _, _), _ = kept(raw, body_bytes=body_bytes)

    assert KEY[12:20].encode() not in asked


def test_set_tracing_redact_prompts_leaves_the_form_and_takes_the_words():
    """SET:tracing_redact_prompts (R-30): of what was asked, of what was answered, of every event."""
    answer = {
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "my secret too"}}],
        "usage": {"prompt_tokens": 3},
    }

    _, (asked, _, _), (answered, _, _) = kept(
        orjson.dumps(CHAT), orjson.dumps(answer), redact_prompts=True
    )

    assert orjson.loads(asked) == {
        "model": "m",
        "messages": [{"role": "user", "content": "[redacted]"}],
        "n": 1,
    }
    assert orjson.loads(answered) == {
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "[redacted]"}}],
        "usage": {"prompt_tokens": 3},
    }


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m", "prompt": "SECRET"},
        {"model": "m", "prompt": ["SECRET", "SECRET"]},
        {"model": "m", "input": {"SECRET": 1}},
        {"tools": [{"function": {"name": "SECRET", "parameters": {"SECRET": {}}}}]},
        {"choices": [{"logprobs": {"top_logprobs": [{"SECRET": -0.1}]}}]},
        {"type": "SECRET " * 20},
        {"messages": [{"content": [{"type": "text", "text": "SECRET"}]}]},
        b"not json: SECRET",
        b'{"cut": "SECRET',
        b'data: {"delta": {"text": "SECRET"}}\n\ndata: {"delta": {"text": "SEC',
        b": SECRET\n\n",
        b"data: {}\n: SECRET\n\n",
        b"event: SECRET of mine\ndata: {}\n\n",
        {"messages": [{"content": {"SECRET": 1}}]},
        {"guided_json": {"properties": {"SECRET": {"type": "string"}}}},
        {"text": {"format": {"type": "json_schema", "schema": {"properties": {"SECRET": {}}}}}},
        {"chat_template_kwargs": {"SECRET": True}},
        {"SECRET words of mine": 1},
        b"event: x\nid: SECRET\ndata: SECRET\n\n",
    ],
)
def test_r30_no_word_of_a_prompt_gets_past(body):
    raw = body if isinstance(body, bytes) else orjson.dumps(body)

    _, (asked, _, _), (answered, _, _) = kept(raw, raw, redact_prompts=True)

    assert b"SEC" not in asked + answered


def test_r30_token_ids_and_vectors_are_words_too():
    raw = orjson.dumps({"input": [[4711, 5], [6]], "data": [{"embedding": [0.125, 1]}]})

    _, (asked, _, _), _ = kept(raw, redact_prompts=True)

    assert orjson.loads(asked) == {
        "input": ["[redacted]", "[redacted]"],
        "data": [{"embedding": "[redacted]"}],
    }
