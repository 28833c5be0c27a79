"""Answers of conversations (R-39): begun, followed, stopped, continued, branched, refused; against a stub engine."""

import time

import pytest

from chat.models import Attachment, Conversation, Message
from chat.tests.conftest import Chat, events_of, told

pytestmark = pytest.mark.django_db(transaction=True)


def test_r39_an_answer_is_kept_with_its_counts(engine, as_bob):
    chat = Chat(as_bob)

    answer = chat.ask(told(tokens=7))

    assert answer["status"] == "done"
    assert answer["content"] == " token" * 7
    assert (answer["promptTokens"], answer["completionTokens"]) == (12, 7)
    assert answer["model"] == "m"
    assert answer["firstTokenMs"] <= answer["durationMs"]
    shown = chat.shown()
    assert [each["role"] for each in shown["messages"]] == ["user", "assistant"]
    assert shown["chat"]["leaf"] == answer["id"]
    assert shown["chat"]["title"] == 'stub {"tokens": 7}'


def test_r39_a_reader_that_comes_late_sees_all_of_it(engine, as_bob):
    chat = Chat(as_bob)
    begun = chat.say(told(tokens=12, tick=0.03)).json()

    events = chat.follow(begun["answer"]["id"])

    assert "".join(data["content"] for name, data, _ in events if name == "delta") == " token" * 12
    assert events[-1][0] == "end"
    assert events[-1][1]["completionTokens"] == 12


def test_r39_a_reader_goes_on_where_it_was(engine, as_bob):
    chat = Chat(as_bob)
    answer = chat.ask(told(tokens=10))

    first = chat.follow(answer["id"])
    rest = chat.follow(answer["id"], after="24.0")
    none = chat.follow(answer["id"], after=first[-1][2])

    assert rest[0][1]["content"] == " token" * 6
    assert [name for name, *_ in none] == ["end"]


def test_r39_a_reader_that_has_more_than_was_kept_begins_anew(engine, as_bob):
    chat = Chat(as_bob)
    answer = chat.ask(told(tokens=2))

    events = chat.follow(answer["id"], after="500.3")

    assert [name for name, *_ in events] == ["reset", "delta", "end"]
    assert events[1][1]["content"] == " token" * 2


def test_r39_the_answer_comes_in_the_response_where_it_is_asked_for(engine, as_bob):
    chat = Chat(as_bob)

    response = chat.say(told(tokens=5), stream=True)
    events = events_of(b"".join(response.streaming_content))

    assert response.headers["content-type"].startswith("text/event-stream")
    assert events[0][0] == "begin"
    assert events[0][1]["question"]["content"] == told(tokens=5)
    assert (
        "".join(data.get("content", "") for name, data, _ in events if name == "delta")
        == " token" * 5
    )
    assert events[-1][1]["id"] == events[0][1]["answer"]["id"]


def test_r39_stop_keeps_what_came(engine, as_bob):
    chat = Chat(as_bob)
    begun = chat.say(told(tokens=500, tick=0.02)).json()["answer"]
    time.sleep(0.3)

    stopped = chat.do(begun["id"], "stop")

    assert stopped.status_code == 200
    body = stopped.json()
    assert body["status"] == "stopped"
    assert 0 < body["completionTokens"] < 100
    assert body["content"] == " token" * body["completionTokens"]
    assert chat.do(begun["id"], "stop").status_code == 409


def test_r39_an_answer_that_was_stopped_goes_on_as_the_same_message(engine, as_bob):
    chat = Chat(as_bob)
    begun = chat.say(told(tokens=500, tick=0.02)).json()["answer"]
    time.sleep(0.2)
    before = chat.do(begun["id"], "stop").json()
    Message.objects.filter(parent=None).update(content=told(tokens=4))

    again = chat.do(begun["id"], "continue")

    assert again.status_code == 202
    assert again.json()["question"] is None
    answer = chat.ended(begun["id"])
    assert answer["status"] == "done"
    assert answer["content"] == before["content"] + " token" * 4
    assert answer["completionTokens"] == before["completionTokens"] + 4
    sent = engine.state()["body"]
    assert sent["continue_final_message"] is True
    assert sent["add_generation_prompt"] is False
    assert sent["messages"][-1] == {"role": "assistant", "content": before["content"]}


def test_r39_regenerate_and_edit_are_branches(engine, as_bob):
    chat = Chat(as_bob)
    first = chat.ask("one")
    again = chat.do(first["id"], "regenerate").json()["answer"]
    second = chat.ended(again["id"])
    question = first["parent"]

    edited = chat.ask("two", parent=None)

    assert chat.message(second["id"])["siblings"] == [first["id"], second["id"]]
    assert chat.message(edited["parent"])["siblings"] == [question, edited["parent"]]
    assert chat.shown()["messages"][0]["content"] == "two"
    chat.api("PATCH", chat.path, {"show": question})
    assert chat.shown()["messages"][-1]["id"] == second["id"]
    chat.api("PATCH", chat.path, {"leaf": first["id"]})
    assert [each["id"] for each in chat.shown()["messages"]] == [question, first["id"]]


def test_r39_settings_and_system_prompt_go_to_the_engine(engine, as_bob):
    chat = Chat(
        as_bob, system="Be brief.", temperature=0.5, topP=0.9, maxTokens=77, seed=5, title="Mine"
    )
    first = chat.ask("hello")
    chat.ask("and again")

    sent = engine.state()["body"]
    assert sent["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": first["content"]},
        {"role": "user", "content": "and again"},
    ]
    wanted = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 77, "seed": 5, "model": "m"}
    assert {name: sent[name] for name in wanted} == wanted
    assert chat.shown()["chat"]["title"] == "Mine"


def test_r39_an_engine_that_breaks_off_leaves_an_answer_that_was_cut(engine, as_bob):
    chat = Chat(as_bob)

    answer = chat.ask(told(tokens=9, die_after=3, tick=0.02))

    assert (answer["status"], answer["reason"]) == ("cut", "engine_failed")
    assert answer["content"] == " token" * 3
    assert answer["completionTokens"] == 3
    assert "engine" in answer["error"]


def test_r39_what_is_refused_leaves_nothing(engine, as_bob, bob):
    chat = Chat(as_bob)

    for content, status, reason in (
        (told(status=400, message="too long for me"), 400, "invalid_request"),
        (told(status=500), 502, "engine_failed"),
    ):
        refused = chat.say(content)
        assert refused.status_code == status
        assert refused.json()["error"]["reason"] == reason
    unknown = chat.say("hi", model="nope")
    assert (unknown.status_code, unknown.json()["error"]["reason"]) == (404, "model_not_found")
    type(bob).objects.filter(pk=bob.pk).update(models_restricted=True, allowed_models=["other"])
    denied = chat.say("hi")
    assert (denied.status_code, denied.json()["error"]["reason"]) == (403, "model_not_allowed")

    assert not Message.objects.exists()
    conversation = Conversation.objects.get()
    assert (conversation.n_messages, conversation.leaf_id, conversation.title) == (0, None, "")


def test_r39_deleting_a_chat_ends_its_answer(engine, as_bob):
    chat = Chat(as_bob)
    chat.say(told(tokens=5000, tick=0.02))
    time.sleep(0.1)

    assert as_bob.delete(chat.path).status_code == 200

    deadline = time.monotonic() + 5
    while engine.state()["active"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not Message.objects.exists()


def test_r39_text_files_are_told_and_images_refused_where_they_are_not_seen(
    engine, as_bob, settings
):
    chat = Chat(as_bob)
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

    answer = chat.ask("what is it?", files=[{"name": "a.txt", "text": "secret word"}])
    sent = engine.state()["body"]["messages"][-1]["content"]
    assert sent == "a.txt:\n```\nsecret word\n```\n\nwhat is it?"
    question = chat.message(answer["parent"])
    (file,) = question["files"]
    assert as_bob.get(file["url"]).content == b"secret word"

    # the stub is remote and says nothing of itself: it is asked
    chat.ask("look", files=[{"name": "b.png", "data": png}])
    parts = engine.state()["body"]["messages"][-1]["content"]
    assert parts[1]["image_url"]["url"] == f"data:image/png;base64,{png}"
    image = Attachment.objects.get(kind="image")
    shown = as_bob.get(f"{chat.path}/messages/{image.message_id}/files/0")
    assert shown.headers["content-type"] == "image/png"
