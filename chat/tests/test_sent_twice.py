"""Messages that are sent twice, or asked again from two places at once (R-39)."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from chat import conversations, messages
from chat.models import Message
from chat.tests.conftest import Chat, conversation, events_of, told

pytestmark = pytest.mark.django_db(transaction=True)


def test_r39_a_request_that_is_sent_again_begins_nothing(engine, as_bob):
    chat = Chat(as_bob)
    body = {"content": told(tokens=3), "stream": True}
    sent = [as_bob.post(f"{chat.path}/messages", body, Idempotency_Key="one") for _ in range(3)]

    seen = [events_of(b"".join(each.streaming_content)) for each in sent]
    ids = {events[0][1]["answer"]["id"] for events in seen}
    assert len(ids) == 1
    for events in seen:
        assert events[0][1]["question"]["content"] == body["content"]
        text = "".join(data["content"] for name, data, _ in events if name == "delta")
        assert (text, events[-1][0]) == (" token" * 3, "end")
    assert chat.shown()["chat"]["messageCount"] == 2
    again = chat.do(*ids, "regenerate")
    assert again.json()["answer"]["id"] not in ids
    refused = as_bob.post(f"{chat.path}/messages", body, Idempotency_Key="x" * 65)
    assert refused.status_code == 400


def test_r39_a_chat_whose_request_is_sent_again_is_one(as_bob, bob, mallory):
    body = {"title": "Once"}
    with ThreadPoolExecutor(4) as several:
        made = list(several.map(lambda _: create_in_thread(bob, "one", body), range(8)))
    assert len({chat.pk for chat in made}) == 1
    sent = [as_bob.post("/api/chats", body, Idempotency_Key="one") for _ in range(2)]
    assert {answer.status_code for answer in sent} == {201}
    assert {answer.json()["id"] for answer in sent} == {str(made[0].pk)}

    assert as_bob.post("/api/chats", body, Idempotency_Key="two").json()["id"] != str(made[0].pk)
    assert create_in_thread(mallory, "one", body).pk != made[0].pk  # keys are each person's own
    without = {as_bob.post("/api/chats", body).json()["id"] for _ in range(2)}
    assert len(without) == 2
    assert as_bob.post("/api/chats", body, Idempotency_Key="x" * 65).status_code == 400


def create_in_thread(user, key, fields):
    try:
        return conversations.create(str(user.pk), dict(fields), key=key)
    finally:
        connection.close()


def test_r39_a_refused_message_that_was_asked_again_meanwhile_stays(as_bob, bob):
    chat = conversation(bob, "first")
    begun = messages.ask(chat, chat.leaf, "second", [])
    again = messages.answer_again(chat, begun.question)

    messages.take_back(begun)

    kept = set(Message.objects.filter(conversation=chat).values_list("pk", flat=True))
    assert begun.answer.pk not in kept
    assert {begun.question.pk, again.answer.pk} <= kept
    chat.refresh_from_db()
    assert (chat.n_messages, chat.leaf_id) == (len(kept), again.answer.pk)

    messages.take_back(again)

    chat.refresh_from_db()
    assert (chat.n_messages, chat.leaf_id) == (len(kept) - 1, begun.question.parent_id)
