"""Conversations (R-39): whose they are, how they are found, changed, exported and deleted."""

import json
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from chat import conversations, leases, messages
from chat.models import Attachment, Conversation, Message, Preference
from core.sweeps import SWEEPS
from tests.people import Api

pytestmark = pytest.mark.django_db
NOBODYS = "00000000-0000-4000-8000-000000000000"


def conversation(user, *texts, **fields):
    """One with an exchange for each text, without an engine."""
    made = Conversation.objects.create(user=user, **fields)
    for text in texts:
        begun = messages.ask(made, made.leaf, text, [])
        Message.objects.filter(pk=begun.answer.pk).update(
            status="done", lease_until=None, content=f"answer to {text}", model="m"
        )
        begun.answer.refresh_from_db()
        made.leaf = begun.answer
    return made


def routes(chat):
    leaf = chat.leaf_id
    base = f"/api/chats/{chat.pk}"
    return [
        ("GET", base, None),
        ("PATCH", base, {"title": "x"}),
        ("DELETE", base, None),
        ("GET", f"{base}/export", None),
        ("POST", f"{base}/messages", {"content": "x"}),
        ("GET", f"{base}/messages/{leaf}", None),
        *[
            ("POST", f"{base}/messages/{leaf}/{step}", {})
            for step in ("regenerate", "continue", "stop")
        ],
        ("GET", f"{base}/messages/{leaf}/stream", None),
        ("GET", f"{base}/messages/{leaf}/files/0", None),
    ]


def test_r39_another_ones_chat_is_not_there_for_a_user_or_an_admin(as_alice, as_mallory, bob):
    chat = conversation(bob, "hello")

    for api in (as_alice, as_mallory):
        for method, path, body in routes(chat):
            assert api(method, path, body).status_code == 404, (method, path)
        assert api.get("/api/chats").json()["chats"] == []
        assert api.delete("/api/chats").json()["deleted"] == 0
    chat.refresh_from_db()
    assert chat.title == "hello"


def test_r39_a_key_of_the_owner_may_a_legacy_key_and_nobody_may_not(bob, make_key, anonymous):
    chat = conversation(bob, "hello")
    key = Api(key=make_key(bob)[1])

    assert key.get(f"/api/chats/{chat.pk}").status_code == 200
    assert Api(key="legacy-key-one").get("/api/chats").status_code == 403
    assert anonymous.get("/api/chats").status_code == 401


def test_r39_without_the_feature_chat_there_is_no_chat(as_bob, bob):
    User.objects.filter(pk=bob.pk).update(permissions={"chat": False})

    refused = as_bob.get("/api/chats")

    assert (refused.status_code, refused.json()["error"]["reason"]) == (403, "feature_disabled")


def test_r39_a_message_of_another_chat_is_not_there(as_bob, bob, mallory):
    mine, other = conversation(bob, "mine"), conversation(bob, "other")
    theirs = conversation(mallory, "theirs")

    for foreign in (other.leaf_id, theirs.leaf_id, NOBODYS):
        path = f"/api/chats/{mine.pk}/messages/{foreign}"
        assert as_bob.get(path).status_code == 404
        assert as_bob.post(f"{path}/regenerate").status_code == 404
        assert as_bob.get(f"{path}/stream").status_code == 404
        for body in ({"leaf": str(foreign)}, {"show": str(foreign)}):
            assert as_bob("PATCH", f"/api/chats/{mine.pk}", body).status_code == 400
        assert as_bob.get(f"/api/chats/{mine.pk}?before={foreign}").status_code == 400
        refused = as_bob.post(
            f"/api/chats/{mine.pk}/messages", {"content": "x", "parent": str(foreign)}
        )
        assert refused.status_code == 400
    mine.refresh_from_db()
    assert mine.n_messages == 2


def test_r39_the_list_is_paged_newest_first(as_bob, bob):
    now = timezone.now()
    for i in range(7):
        conversation(bob, title=f"chat {i}", updated_at=now - timedelta(minutes=i // 2))

    found, cursor = [], ""
    while cursor is not None:
        page = as_bob.get(f"/api/chats?limit=3&cursor={cursor}").json()
        assert len(page["chats"]) <= 3
        found += [each["title"] for each in page["chats"]]
        cursor = page["next"]

    assert sorted(found) == [f"chat {i}" for i in range(7)]
    assert set(found[:2]) == {"chat 0", "chat 1"}
    assert found[-1] == "chat 6"


def test_r39_search_looks_into_titles_and_messages(as_bob, bob):
    conversation(bob, "how do whales sleep", title="Animals")
    conversation(bob, "nothing", title="100% whale")
    conversation(bob, "other", title="x_y")

    def titles(words):
        return {each["title"] for each in as_bob.get(f"/api/chats?q={words}").json()["chats"]}

    assert titles("WHALE") == {"Animals", "100% whale"}
    assert titles("answer%20to%20other") == {"x_y"}
    assert titles("100%25") == {"100% whale"}
    assert titles("_") == {"x_y"}
    assert titles("'; DROP TABLE chat_message; --") == set()


def test_r39_the_list_takes_as_many_queries_for_one_as_for_many(
    as_bob, bob, django_assert_num_queries
):
    for i in range(60):
        conversation(bob, title=str(i))
    as_bob.get("/api/chats")

    with django_assert_num_queries(4):  # session and its owner, list, preference
        answer = as_bob.get("/api/chats")
    assert len(answer.json()["chats"]) == 50


def test_r39_rename_settings_and_emptying_them(as_bob, bob):
    chat = conversation(bob, temperature=1)
    path = f"/api/chats/{chat.pk}"

    changed = as_bob(
        "PATCH", path, {"title": "  A  new\nname ", "temperature": None, "topP": 0.5, "seed": -3}
    ).json()

    assert changed["title"] == "A new name"
    assert (changed["temperature"], changed["topP"], changed["seed"]) == (None, 0.5, -3)
    assert as_bob.get(path).json()["chat"]["title"] == "A new name"


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


def test_r39_deleting_leaves_nothing_of_one_or_all(as_bob, bob, mallory):
    one, other, theirs = (conversation(who, "a", "b") for who in (bob, bob, mallory))
    Attachment.objects.create(
        message=one.leaf.parent, number=0, kind="text", name="n", media_type="text/plain", size=1
    )

    assert as_bob.delete(f"/api/chats/{one.pk}").status_code == 200
    assert as_bob.get(f"/api/chats/{one.pk}").status_code == 404
    assert Message.objects.filter(conversation=other).count() == 4
    assert as_bob.delete("/api/chats").json() == {"message": "chats deleted", "deleted": 1}

    assert list(Conversation.objects.all()) == [theirs]
    assert Message.objects.count() == 4
    assert not Attachment.objects.exists()


def test_r39_s19_a_persons_chats_go_with_the_account(as_alice, bob, mallory):
    conversation(bob, "a", "b")
    conversation(mallory, "c")
    Preference.objects.create(user=bob, keeps_history=False)

    assert as_alice.delete(f"/api/auth/admin/users/{bob.pk}").status_code == 200

    assert Conversation.objects.get().user == mallory
    assert Message.objects.count() == 2
    assert not Preference.objects.exists()


def test_r39_export_has_the_tree_or_what_is_shown(as_bob, bob):
    chat = conversation(bob, "first", "second", title="Whales & Co", system="Be kind.")
    begun = messages.answer_again(chat, Message.objects.get(content="second"))
    Message.objects.filter(pk=begun.answer.pk).update(
        content="another", status="done", lease_until=None
    )
    path = f"/api/chats/{chat.pk}/export"

    answer = as_bob.get(f"{path}?format=json")
    whole = json.loads(b"".join(answer.streaming_content))
    markdown = b"".join(as_bob.get(f"{path}?format=markdown").streaming_content).decode()

    assert answer.headers["content-disposition"] == 'attachment; filename="Whales-Co.json"'
    assert whole["chat"]["title"] == "Whales & Co"
    assert [each["content"] for each in whole["messages"]] == [
        "first",
        "answer to first",
        "second",
        "answer to second",
        "another",
    ]
    assert markdown.startswith("# Whales & Co\n\n## System\n\nBe kind.\n\n## You, ")
    assert "answer to first" in markdown
    assert "another" in markdown
    assert "answer to second" not in markdown
    assert as_bob.get(f"{path}?format=pdf").status_code == 400


def test_r39_history_off_for_oneself_keeps_nothing_new_and_hides_nothing(as_bob, bob):
    chat = conversation(bob, "before")

    assert as_bob.put("/api/chats/preferences", {"history": False}).json() == {
        "history": {"on": False, "offBy": "user"}
    }
    assert as_bob.post("/api/chats", {}).status_code == 409
    for method, path, body in routes(chat)[4:5] + routes(chat)[6:8]:
        refused = as_bob(method, path, body)
        assert refused.status_code == 409, path
    listed = as_bob.get("/api/chats").json()
    assert listed["history"] == {"on": False, "offBy": "user"}
    assert len(listed["chats"]) == 1
    assert Message.objects.count() == 2

    as_bob.put("/api/chats/preferences", {"history": True})
    assert as_bob.post("/api/chats", {}).status_code == 201


def test_r39_history_off_on_the_server(as_bob, bob, settings):
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"chat_history": False})
    as_bob.put("/api/chats/preferences", {"history": True})

    assert as_bob.get("/api/chats").json()["history"] == {"on": False, "offBy": "server"}
    refused = as_bob.post("/api/chats", {})
    assert refused.status_code == 409
    assert "switched off on this server" in refused.json()["error"]["message"]
    assert as_bob.put("/api/chats/preferences", {"history": 1}).status_code == 400


def test_r39_old_chats_go_where_a_retention_is_set(bob, settings):
    old = timezone.now() - timedelta(days=100)
    conversation(bob, "new")
    Conversation.objects.filter(pk=conversation(bob, "old").pk).update(updated_at=old)

    for work in SWEEPS:
        work()
    assert Conversation.objects.count() == 2
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"chat_retention": "90d"})
    assert conversations.sweep() == 1

    assert Conversation.objects.get().title == "new"


def test_r39_an_answer_that_nobody_writes_any_more_is_cut_off_when_it_is_read(as_bob, bob):
    chat = conversation(bob, "x")
    Message.objects.filter(pk=chat.leaf_id).update(
        status="streaming",
        lease_until=timezone.now() - timedelta(seconds=1),
        completion_tokens=61,
        content="so far",
    )

    answer = as_bob.get(f"/api/chats/{chat.pk}").json()["messages"][-1]

    assert (answer["status"], answer["reason"]) == ("cut", "server_stopped")
    assert (answer["content"], answer["completionTokens"]) == ("so far", 61)
    assert leases.sweep() == 0


def test_r39_there_is_a_bound_on_chats_and_on_messages(as_bob, bob, monkeypatch):
    monkeypatch.setattr("chat.bounds.MAX_CONVERSATIONS", 2)
    monkeypatch.setattr("chat.bounds.MAX_MESSAGES", 2)
    chat = conversation(bob, "x")
    conversation(bob)

    assert as_bob.post("/api/chats", {}).status_code == 409
    refused = as_bob.post(f"/api/chats/{chat.pk}/messages", {"content": "more"})

    assert refused.status_code == 409
    assert "begin a new one" in refused.json()["error"]["message"]
    assert Message.objects.count() == 2


def test_r39_one_person_has_so_many_answers_at_once(as_bob, bob, monkeypatch):
    monkeypatch.setattr("chat.bounds.MAX_ANSWERS_AT_ONCE", 1)
    chat = conversation(bob, "x", "y")
    first = Message.objects.filter(role="assistant").order_by("pk").first()
    Message.objects.filter(pk=first.pk).update(status="streaming", lease_until=leases.lease())

    refused = as_bob.post(f"/api/chats/{chat.pk}/messages", {"content": "more"})

    assert (refused.status_code, refused.json()["error"]["reason"]) == (429, "rate_limited")
    under = as_bob.post(
        f"/api/chats/{chat.pk}/messages", {"content": "more", "parent": str(first.pk)}
    )
    assert under.status_code == 429


def png(size):
    import base64

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
