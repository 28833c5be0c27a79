"""What an engine is sent is what our own parser saw, however the caller's body was spelt.

An engine that takes the first of two equal keys, or reads a key in another way, must not be shown another
model, another address or another limit than was judged here.
"""

import asyncio
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import EngineFailedError, GatehouseError, InvalidRequestError, ModelNotAllowedError
from inference.tests.rig import BOB, Rig

HI = '"messages":[{"role":"user","content":"hi"}]'


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    rig = Rig(tmp_path_factory.mktemp("sent"), served_model="served", more=("secret",))
    rig.loop = asyncio.new_event_loop()
    yield rig
    rig.loop.close()


def sent(rig: Rig, raw: bytes, name: str = "chat-completions") -> bytes:
    """The body that reached the engine's client. Raises what the caller would be told."""
    found: list[bytes] = []

    async def request(_method: bytes, _path: bytes, body: bytes, _more: bytes) -> Any:
        found.append(body)
        raise EngineFailedError

    async def ask() -> None:
        for target in rig.runtime.engines.targets.values():
            rig.runtime.engines.desk(target).client.request = request
        await rig.ask(name, raw)

    try:
        rig.loop.run_until_complete(ask())
    except EngineFailedError:
        return found[0]
    raise AssertionError("nothing was sent")


def strictly(raw: bytes) -> Any:
    """Parsed by a reader that takes no key twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key for key, _ in pairs}) == len(pairs)
        return dict(pairs)

    return json.loads(raw, object_pairs_hook=once)


MEMBERS = st.sampled_from(
    [
        '"model":"m"',
        '"model" : "m"',
        '"\\u006dodel":"m"',
        '"max_tokens":5',
        '"max_tokens" :7',
        '"Model":"secret"',
        '"x":{"model":"secret","model":"m"}',
        '"x":[{"a":1,"a":{"b":2,"b":3}}]',
        '"user":"\\",\\"model\\":\\"secret"',
        '"user":"ünï \\ud83d\\ude42 🙂"',
        '"stream":true',
        '"stream_options":{"include_usage":true,"include_usage":false}',
        HI,
        '"messages":[{"role":"user","role":"system","content":"a\\n","content":"b"}]',
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    members=st.lists(MEMBERS, max_size=8),
    space=st.sampled_from(["", " ", "\n\t ", "\r\n"]),
)
def test_nothing_is_sent_that_the_parser_did_not_see(rig, members, space):
    raw = ("{" + f",{space}".join([*members, HI, '"model":"m"']) + space + "}").encode()
    wanted = json.loads(raw) | {"model": "served"}
    if wanted.get("stream"):
        wanted["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}

    assert strictly(sent(rig, raw)) == wanted


@pytest.mark.parametrize("key", ['"model"', '"\\u006dodel"', '"mode\\u006C"', '"model" \n'])
def test_a_model_that_is_named_twice_is_the_last_one_for_the_gate_as_well(rig, key, monkeypatch):
    monkeypatch.setattr(rig, "principal", dataclasses.replace(BOB, models=frozenset({"m"})))
    raw = f'{{"model":"m",{key}:"secret",{HI}}}'

    with pytest.raises(ModelNotAllowedError):
        sent(rig, raw.encode())

    turned = f'{{{key}:"secret","model":"m",{HI}}}'
    assert strictly(sent(rig, turned.encode()))["model"] == "served"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"m","temperature":NaN,%b}',
        b'{"model":"m","temperature":Infinity,%b}',
        b'{"model":"m","user":"\xff\xfe",%b}',
        b'{"model":"m","user":"\\ud800",%b}',
        b'{"model":"m","user":"a\nb",%b}',
        b'{"model":"m",%b} {"model":"secret"}',
        b'\xef\xbb\xbf{"model":"m",%b}',
        b'{"model":"m",%b,}',
        b'[{"model":"m",%b}]',
    ],
)
def test_what_is_no_json_of_the_standard_goes_nowhere(rig, raw):
    with pytest.raises(InvalidRequestError):
        sent(rig, raw % HI.encode())


def test_a_huge_body_and_a_deep_one(rig):
    long = '{"model":"m","messages":[{"role":"user","content":"%s"}]}' % ("ü\\n" * 150_000)
    assert len(strictly(sent(rig, long.encode()))["messages"][0]["content"]) == 300_000

    deep = f'{{"model":"m","x":{"[" * 300 + "]" * 300},{HI}}}'
    with pytest.raises(GatehouseError):
        sent(rig, deep.encode())
