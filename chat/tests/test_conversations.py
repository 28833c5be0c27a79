"""Conversations (R-39): whose they are, how they are found, changed, exported and deleted."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import User
from chat import conversations, leases, messages
from chat.models import Attachment, Conversation, Message, Preference
from chat.tests.conftest import conversation
from core.sweeps import SWEEPS
from tests.people import Api

pytestmark = pytest.mark.django_db
NOBODYS = "00000000-0000-4000-8000-000000000000"


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
