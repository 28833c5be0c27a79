"""Answers of conversations (R-39): begun, followed, stopped, continued, branched, refused; against a stub engine."""

import time

import pytest

from chat.live import Live
from chat.models import Attachment, Conversation, Message, new_id
from chat.tests.conftest import Chat, events_of, told
from inference.models import Engine, Model

pytestmark = pytest.mark.django_db(transaction=True)
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


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

    answer = chat.ask("what is it?", files=[{"name": "a.txt", "text": "secret word"}])
    sent = engine.state()["body"]["messages"][-1]["content"]
    assert sent == "a.txt:\n```\nsecret word\n```\n\nwhat is it?"
    question = chat.message(answer["parent"])
    (file,) = question["files"]
    assert as_bob.get(file["url"]).content == b"secret word"

    # the stub is remote and says nothing of itself: it is asked
    chat.ask("look", files=[{"name": "b.png", "data": PNG}])
    parts = engine.state()["body"]["messages"][-1]["content"]
    assert parts[1]["image_url"]["url"] == f"data:image/png;base64,{PNG}"
    image = Attachment.objects.get(kind="image")
    path = f"{chat.path}/messages/{image.message_id}/files/0"
    shown = as_bob.get(path)
    assert shown.headers["content-type"] == "image/png"
    assert as_bob.get(path, if_none_match=shown.headers["etag"]).status_code == 304
    assert as_bob.get(path.replace("files/0", "files/9")).status_code == 404
    assert as_bob.get(path.replace("files/0", f"files/{10**30}")).status_code == 404


def test_r39_a_page_that_is_loaded_in_the_middle_goes_on_behind_what_it_shows(engine, as_bob):
    chat = Chat(as_bob)
    message_id = chat.say(told(tokens=40, tick=0.03, words="é𝄞")).json()["answer"]["id"]
    time.sleep(0.6)

    shown = chat.shown()["messages"][-1]
    rest = "".join(
        data["content"]
        for name, data, _ in chat.follow(message_id, shown["after"])
        if name == "delta"
    )

    assert 0 < len(shown["content"]) < 40 * 3
    assert shown["content"] + rest == chat.message(message_id)["content"]
    assert len(shown["content"] + rest) == 40 * 3
    assert "after" not in chat.message(message_id)


def test_r39_the_callers_correlation_id_is_kept_with_the_answer(engine, as_bob):
    chat = Chat(as_bob)

    begun = as_bob.post(f"{chat.path}/messages", {"content": "hi"}, x_correlation_id="from-me-1")

    assert begun.headers["x-correlation-id"] == "from-me-1"
    answer = chat.ended(begun.json()["answer"]["id"])
    assert answer["correlationId"] == "from-me-1"


def test_r39_a_model_that_loads_says_so_and_nothing_is_kept(as_bob):
    model = Model.objects.create(name="sleepy", backend="vllm-cpu", capabilities=["chat"])
    Engine.objects.create(model=model, state="starting")
    chat = Chat(as_bob, model="sleepy")

    refused = chat.say("hi", stream=True)

    assert refused.status_code == 503
    body = refused.json()
    assert body["error"]["reason"] == "model_loading"
    assert int(refused.headers["retry-after"]) > 0
    assert not Message.objects.exists()


def test_r39_a_model_that_is_known_not_to_see_refuses_images(as_bob):
    model = Model.objects.create(name="blind", backend="vllm-cpu", capabilities=["chat"])
    Engine.objects.create(model=model, state="ready", address="http://127.0.0.1:9")
    chat = Chat(as_bob, model="blind")

    refused = chat.say("what is it?", files=[{"name": "b.png", "data": PNG}])

    assert (refused.status_code, refused.json()["error"]["reason"]) == (400, "not_supported")
    assert refused.json()["error"]["message"] == "This model does not take images."
    assert not Message.objects.exists()


def test_r39_an_engine_that_is_away_is_said_and_nothing_is_kept(as_bob, settings):
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"engines": []})
    model = Model.objects.create(name="gone", backend="vllm-cpu", capabilities=["chat"])
    Engine.objects.create(model=model, state="ready", address="http://127.0.0.1:9")

    refused = Chat(as_bob, model="gone").say("hi")

    assert (refused.status_code, refused.json()["error"]["reason"]) == (502, "engine_failed")
    assert not Message.objects.exists()


def test_r39_an_engine_that_says_nothing_yet_is_waited_for_behind_the_request(engine, as_bob):
    chat = Chat(as_bob)

    begun = chat.say(told(hang=1))

    assert begun.status_code == 202
    answer = begun.json()["answer"]
    assert answer["status"] == "streaming"
    stopped = chat.do(answer["id"], "stop").json()
    assert (stopped["status"], stopped["content"]) == ("stopped", "")


def test_r39_two_answers_at_once_in_one_chat_are_branches(engine, as_bob):
    chat = Chat(as_bob)
    first = chat.ask("one")
    beside = chat.do(first["id"], "regenerate").json()["answer"]["id"]
    other = chat.do(first["id"], "regenerate").json()["answer"]["id"]

    assert chat.ended(beside)["status"] == chat.ended(other)["status"] == "done"
    assert len(chat.message(first["id"])["siblings"]) == 3


def test_r39_nothing_is_said_under_an_answer_that_is_being_written(engine, as_bob):
    chat = Chat(as_bob)
    begun = chat.say(told(tokens=100, tick=0.05)).json()["answer"]

    assert chat.say("next").status_code == 409
    assert chat.do(begun["id"], "continue").status_code in {400, 409}
    chat.do(begun["id"], "stop")


def test_r39_an_answer_that_is_too_long_to_keep_is_cut_off(engine, as_bob, monkeypatch):
    monkeypatch.setattr("chat.live.MAX_ANSWER_CHARS", 60)
    chat = Chat(as_bob)

    answer = chat.ask(told(tokens=100, tick=0.01))

    assert (answer["status"], answer["reason"]) == ("cut", "too_long")
    assert answer["content"] == " token" * 10


def test_r39_hostile_output_is_kept_as_it_came_without_what_no_database_keeps(engine, as_bob):
    chat = Chat(as_bob)
    words = "<script>\\\\u0000\\u202e</script>"

    answer = chat.ask(told(tokens=2, words=words))

    assert answer["status"] == "done"
    assert "\0" not in answer["content"]
    assert "<script>" in answer["content"]


def test_r39_an_engine_without_running_counts_is_counted_at_the_end(engine, as_bob):
    chat = Chat(as_bob)

    answer = chat.ask(told(tokens=6, silent=True))

    assert (answer["completionTokens"], answer["promptTokens"]) == (6, 12)


def test_r39_an_answer_of_no_stream_is_taken_as_well(engine, as_bob):
    live = Live(new_id())
    whole = {
        "model": "x",
        "choices": [
            {"message": {"content": "all of it", "reasoning": "why"}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4},
    }

    live.take(whole)

    text = live.text()
    assert (text.content, text.reasoning) == ("all of it", "why")
    assert (live.model, live.finish_reason) == ("x", "stop")
    assert (live.prompt_tokens, live.completion_tokens) == (3, 4)


def test_r39_too_many_readers_are_told_so_and_nothing_is_begun(engine, as_bob, monkeypatch):
    chat = Chat(as_bob)
    answer = chat.ask("hi")
    monkeypatch.setattr("chat.following.MAX_WATCHERS_A_WORKER", 0)

    for refused in (
        as_bob.get(f"{chat.path}/messages/{answer['id']}/stream"),
        chat.say("more", stream=True),
    ):
        assert (refused.status_code, refused.json()["error"]["reason"]) == (503, "queue_full")
    assert chat.shown()["chat"]["messageCount"] == 2


def test_r39_an_answer_that_was_given_up_and_begun_anew_is_not_written_by_two(engine, as_bob):
    """A process that was away for longer than its lease comes back, and finds somebody else at work."""
    chat = Chat(as_bob)
    begun = chat.say(told(tokens=400, tick=0.02)).json()["answer"]
    time.sleep(0.5)
    mine = Message.objects.filter(pk=begun["id"])
    mine.update(correlation_id="another's", content="of another")

    time.sleep(1)

    assert mine.get().content == "of another"
    assert engine.state()["active"] == 0
    mine.update(status="done", lease_until=None)
