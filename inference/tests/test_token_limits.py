"""S-52: what a token quota holds at admission, and how it lowers what is asked for."""

import time

import pytest

from core.errors import InvalidRequestError, QuotaExceededError
from inference import token_limits
from inference.tests.rig import BODIES, CHAT, rule, statuses


async def test_tokens_are_settled_by_what_was_used(make_limited):
    rig = make_limited(limit := rule(max_total_tokens=100))

    await rig.ask("chat-completions", {**CHAT, "max_tokens": 30, "stub": {"tokens": 5}})

    standing = rig.counters.standing(limit, time.time())
    assert (standing.tokens, standing.held_tokens, standing.concurrent) == (17, 0, 0)


@pytest.mark.parametrize("name", BODIES)
async def test_s52_max_tokens_is_lowered_to_what_is_left(make_limited, stub, name):
    """In every family, and without a stream."""
    rig = make_limited(rule(max_total_tokens=50))

    await rig.ask(name, {**BODIES[name], "stub": {"tokens": 1}})

    key = "max_output_tokens" if name == "responses" else "max_tokens"
    sent = stub.state()["body"]
    assert 0 < sent[key] <= 50


async def test_s52_a_small_request_is_not_touched(make_limited, stub):
    rig = make_limited(rule(max_total_tokens=5000))

    await rig.ask("chat-completions", {**CHAT, "max_tokens": 20, "stub": {}})

    assert stub.state()["body"]["max_tokens"] == 20


@pytest.mark.parametrize("value", ["1000", 1000.0, True, [1], -1, 0])
async def test_a_limit_that_is_no_whole_number_is_refused(make_limited, value):
    """An engine may read 1000 out of "1000", past what is left."""
    rig = make_limited(limit := rule(max_total_tokens=50))

    with pytest.raises(InvalidRequestError, match="max_tokens must be"):
        await rig.ask("chat-completions", {**CHAT, "max_tokens": value})

    assert rig.counters.standing(limit, time.time()).requests == 0


async def test_the_least_of_two_limits_counts_and_is_what_the_engine_gets(make_limited, stub):
    """An engine takes one of them: not the one that was not held for."""
    rig = make_limited(limit := rule(max_total_tokens=5000))

    body = {**CHAT, "max_tokens": 1, "max_completion_tokens": 4000, "stub": {"tokens": 1}}
    await rig.ask("chat-completions", body)

    sent = stub.state()["body"]
    assert (sent["max_tokens"], sent["max_completion_tokens"]) == (1, 1)
    assert rig.counters.standing(limit, time.time()).tokens == 13


LONG = "lorem ipsum " * 10_000
HIDDEN = {
    "in a text that begins like media": {"messages": [{"role": "user", "content": "data:" + LONG}]},
    "in an enum": {"tools": [{"function": {"parameters": {"enum": [0, LONG]}}}]},
    "in a name": {"tools": [{"function": {"parameters": {"properties": {LONG: {}}}}}]},
    "in documents": {"documents": [{"text": LONG}]},
    "in token ids": {"prompt": list(range(40_000))},
    "in a list of lists": {"prompt": [list(range(20_000)), list(range(20_000))]},
    "in a url without base64": {
        "messages": [{"content": [{"image_url": {"url": "data:" + LONG}}]}]
    },
}


@pytest.mark.parametrize("where", HIDDEN)
def test_s52_a_prompt_counts_wherever_it_is(where):
    assert token_limits.prompt_tokens(HIDDEN[where]) >= 40_000


MEDIA = "A" * 400_000
INLINE = [
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{MEDIA}"}},
    {"type": "input_image", "image_url": f"data:image/png;base64,{MEDIA}"},
    {"type": "input_audio", "input_audio": {"data": MEDIA, "format": "wav"}},
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": MEDIA}},
]


@pytest.mark.parametrize("part", INLINE)
def test_inline_media_is_not_counted_by_its_bytes(part):
    found = token_limits.prompt_tokens({"messages": [{"role": "user", "content": [part]}]})

    assert 1000 <= found < 1100


async def test_more_answers_than_tokens_are_left_is_refused_and_given_back(make_limited):
    rig = make_limited(limit := rule(max_total_tokens=30))

    with pytest.raises(InvalidRequestError, match="tokens are left for 100 answers"):
        await rig.ask("chat-completions", {**CHAT, "n": 100})

    standing = rig.counters.standing(limit, time.time())
    assert (standing.requests, standing.held_tokens, standing.concurrent) == (0, 0, 0)


async def test_s52_a_least_length_gives_way_too(make_limited, stub):
    rig = make_limited(rule(max_total_tokens=50))

    await rig.ask("chat-completions", {**CHAT, "min_tokens": 400, "stub": {}})

    sent = stub.state()["body"]
    assert sent["min_tokens"] == sent["max_tokens"] < 50


async def test_s52_each_of_several_choices_gets_its_part(make_limited, stub):
    rig = make_limited(rule(max_total_tokens=101))

    await rig.ask("chat-completions", {**CHAT, "n": 4, "max_tokens": 1000, "stub": {}})

    assert stub.state()["body"]["max_tokens"] * 4 <= 101


async def test_tokens_refuse_only_where_nothing_is_left(make_limited):
    """Q-05: it blocks where the sum has reached the maximum, and says how far it got."""
    rig = make_limited(rule(max_total_tokens=30))

    assert await statuses(rig, 3, body={**CHAT, "stub": {"tokens": 5}}) == [200, 200, 429]
    with pytest.raises(QuotaExceededError, match=r"Token quota exceeded for all models: 34/30"):
        await rig.ask("chat-completions", CHAT)
