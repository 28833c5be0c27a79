"""Hostile bodies, ids, places and rows of conversations (R-39): clear 4xx, nothing kept, nobody hangs."""

import base64

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from chat.live import Live
from chat.models import Message, new_id
from chat.tests.conftest import conversation
from core.errors import EngineFailedError

pytestmark = pytest.mark.django_db
NOBODYS = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    "body",
    [
        {"title": 5},
        {"title": "x" * 201},
        {"title": "a\0b"},
        {"temperature": 3},
        {"temperature": "hot"},
        {"temperature": True},
        {"topP": 0},
        {"topP": [1]},
        {"maxTokens": 0},
        {"maxTokens": 1.5},
        {"seed": 2**63},
        {"seed": "1"},
        {"system": {"a": 1}},
        {"system": "x" * 40_000},
        {"model": ["m"]},
        {"leaf": "not an id"},
        {"leaf": 7},
        {"leaf": NOBODYS},
        {"show": NOBODYS},
        {"leaf": NOBODYS, "show": NOBODYS},
    ],
)
def test_r39_a_setting_that_makes_no_sense_is_refused(as_bob, bob, body):
    chat = conversation(bob, "x")

    refused = as_bob("PATCH", f"/api/chats/{chat.pk}", body)

    assert refused.status_code == 400, refused.content
    assert refused.json()["error"]["reason"] == "invalid_request"


@pytest.mark.parametrize("body", [b"[]", b"{", b'"x"', b"\xff", b'{"title": "\\ud800"}', b"null"])
def test_r39_a_body_that_is_no_object_is_refused(as_bob, body):
    assert as_bob.post("/api/chats", body).status_code == 400


def test_r39_deep_nesting_and_unknown_keys_harm_nobody(as_bob):
    deep = b'{"x":' * 900 + b"1" + b"}" * 900
    assert as_bob.post("/api/chats", deep).status_code in {201, 400}
    made = as_bob.post("/api/chats", {"user": NOBODYS, "id": NOBODYS, "leaf": NOBODYS})
    assert made.status_code == 201
    assert made.json()["leaf"] is None


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=9999", "cursor=%00", "cursor=abc"])
def test_r39_a_query_that_makes_no_sense_is_refused(as_bob, query):
    assert as_bob.get(f"/api/chats?{query}").status_code == 400


def test_r39_too_long_a_search_is_refused(as_bob):
    assert as_bob.get("/api/chats?q=" + "x" * 201).status_code == 400


def png(size):
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"x" * size).decode()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"content": None}, 400),
        ({"content": "   "}, 400),
        ({"content": ["a"]}, 400),
        ({"content": {"text": "a"}}, 400),
        ({"content": "a\0b"}, 400),
        ({"content": "x" * 262_145}, 413),
        ({"content": "x", "parent": 5}, 400),
        ({"content": "x", "parent": "nope"}, 400),
        ({"content": "x", "model": 5}, 400),
        ({"content": "x", "stream": "yes"}, 400),
        ({"content": "x", "files": {}}, 400),
        ({"content": "x", "files": [5]}, 400),
        ({"content": "x", "files": [{}]}, 400),
        ({"content": "x", "files": [{"text": "a", "data": "YQ=="}]}, 400),
        ({"content": "x", "files": [{"text": "a"}] * 9}, 400),
        ({"content": "x", "files": [{"text": "a\0b", "name": "core"}]}, 400),
        ({"content": "x", "files": [{"text": "a" * 262_145}]}, 413),
        ({"content": "x", "files": [{"name": "n" * 256, "text": "a"}]}, 400),
        ({"content": "x", "files": [{"name": 5, "text": "a"}]}, 400),
        ({"content": "x", "files": [{"data": "not base64!"}]}, 400),
        ({"content": "x", "files": [{"data": "PHN2Zz48L3N2Zz4="}]}, 400),
        ({"content": "x", "files": [{"data": png(4 * 1024 * 1024)}]}, 413),
        ({"content": "x", "files": [{"data": png(3 * 1024 * 1024)}] * 3}, 413),
    ],
)
def test_r39_a_message_that_makes_no_sense_is_refused_and_not_kept(as_bob, bob, body, status):
    chat = conversation(bob)

    refused = as_bob.post(f"/api/chats/{chat.pk}/messages", body)

    assert refused.status_code == status, refused.content
    assert not Message.objects.exists()


def test_r39_a_body_without_end_is_refused(as_bob, bob, settings):
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"upload_limit": 1})
    chat = conversation(bob)
    body = {"content": "x", "files": [{"text": "a" * 250_000}] * 8}

    assert as_bob.post(f"/api/chats/{chat.pk}/messages", body).status_code == 413


@pytest.mark.parametrize("after", ["-1", "x", "1.2.3", "9999999999", "%00", "1;drop"])
def test_r39_a_place_that_no_event_had_is_refused(as_bob, bob, after):
    chat = conversation(bob, "x")
    path = f"/api/chats/{chat.pk}/messages/{chat.leaf_id}/stream?after={after}"

    assert as_bob.get(path).status_code == 400


def test_r39_a_persons_message_goes_under_an_answer_alone(as_bob, bob):
    chat = conversation(bob, "x")
    question = str(chat.leaf.parent_id)
    path = f"/api/chats/{chat.pk}/messages"

    assert as_bob.post(path, {"content": "y", "parent": question}).status_code == 400
    assert as_bob.post(f"{path}/{question}/continue").status_code == 400
    assert as_bob.get(f"{path}/{question}/stream").status_code == 400
    assert as_bob.post(f"{path}/{chat.leaf_id}/continue").status_code == 409
    assert as_bob.post(f"{path}/{chat.leaf_id}/stop").status_code == 409


@pytest.mark.parametrize(
    "fields",
    [
        {"role": "system"},
        {"status": "asleep"},
        {"depth": 0},
        {"parent": None},
        {"status": "streaming"},
        {"lease_until": timezone.now()},
    ],
)
def test_r39_the_database_refuses_what_cannot_be(bob, fields):
    chat = conversation(bob, "x")

    with pytest.raises(IntegrityError), transaction.atomic():
        Message.objects.filter(pk=chat.leaf_id).update(**fields)


def test_r39_no_message_is_its_own_parent_and_a_ring_hangs_nobody(as_bob, bob):
    chat = conversation(bob, "x")
    with pytest.raises(IntegrityError), transaction.atomic():
        Message.objects.filter(pk=chat.leaf_id).update(parent_id=chat.leaf_id)
    # what no function of ours makes, should it ever be there
    Message.objects.filter(pk=chat.leaf.parent_id).update(parent_id=chat.leaf_id, depth=1)

    assert len(as_bob.get(f"/api/chats/{chat.pk}?limit=10").json()["messages"]) == 10
    shown = as_bob("PATCH", f"/api/chats/{chat.pk}", {"show": str(chat.leaf_id)})
    assert shown.status_code == 200
    assert as_bob.delete(f"/api/chats/{chat.pk}").status_code == 200


def test_r39_no_name_or_count_of_an_engine_is_one_that_a_database_refuses():
    live = Live(new_id(), tokens_before=5)

    live.take(
        {
            "model": "m\0",
            "usage": {"completion_tokens": 2**31 - 1},
            "choices": [{"delta": {"content": "\0a"}, "finish_reason": "st\0op"}],
        }
    )

    assert (live.model, live.finish_reason, live.text().content) == ("m", "stop", "a")
    assert live.completion_tokens == 2**31 - 1


@pytest.mark.parametrize(
    "event",
    [
        b"data: {oops}\n\n",
        b'data: {"choices": ["x"]}\n\n',
        b'data: {"choices": [{"delta": "x"}]}\n\n',
        b'data: {"choices": [{"delta": {"content": "\xff"}}]}\n\n',
        b'{"choices": [[]]}',
    ],
)
async def test_what_is_no_chunk_is_the_engines_failure_and_what_came_before_stays(event):
    live = Live(new_id())
    await live.send({"type": "http.response.start", "status": 200, "headers": []})
    good = b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'

    with pytest.raises(EngineFailedError):
        await live.send({"type": "http.response.body", "body": good + event, "more_body": False})

    assert live.text().content == "a"
