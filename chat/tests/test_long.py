"""A conversation of 10,000 messages (R-39): pages, branches, prompts and its end cost what they show."""

import time

import pytest
from django.db import connection

from chat import branches, prompt
from chat.models import Conversation, Message, new_id
from core.errors import ConflictError

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.slow,
    pytest.mark.usefixtures("_statistics_of_before"),
]
N = 10_000
PAGE_S = 0.1


@pytest.fixture
def long_chat(bob):
    """A question and an answer in turn, with 20 versions of the first question."""
    chat = Conversation.objects.create(user=bob, model="m", title="long", n_messages=N)
    ids = sorted(new_id() for _ in range(N + 20))
    rows = []
    for i in range(N):
        role = "assistant" if i % 2 else "user"
        parent = ids[i - 1] if i else None
        rows.append(
            Message(
                id=ids[i],
                conversation=chat,
                parent_id=parent,
                depth=i,
                role=role,
                content=f"{i} " + "word " * 40,
            )
        )
    rows += [
        Message(id=each, conversation=chat, role="user", content="version") for each in ids[N:]
    ]
    Message.objects.bulk_create(rows, batch_size=1000)
    chat.leaf_id = ids[N - 1]
    chat.save()
    chat.ids = ids
    return chat


def quickest(work, n=5):
    times = []
    for _ in range(n):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def test_r39_a_page_costs_the_same_queries_however_long_it_all_is(
    long_chat, as_bob, bob, django_assert_num_queries
):
    short = Conversation.objects.create(user=bob)
    path = f"/api/chats/{long_chat.pk}"
    as_bob.get(path)

    with django_assert_num_queries(6):  # session and its owner, chat, branch, files, siblings
        page = as_bob.get(path).json()
    with django_assert_num_queries(3):
        as_bob.get(f"/api/chats/{short.pk}")

    assert [each["depth"] for each in page["messages"]] == list(range(N - 50, N))
    assert quickest(lambda: as_bob.get(path)) < PAGE_S
    middle = str(long_chat.ids[N // 2])
    assert quickest(lambda: as_bob.get(f"{path}?before={middle}&limit=200")) < PAGE_S


def test_r39_pages_lead_to_the_top_without_a_gap(long_chat, as_bob):
    path, before, depths = f"/api/chats/{long_chat.pk}", "", []
    while before is not None:
        page = as_bob.get(f"{path}?limit=200&before={before}").json()
        depths = [each["depth"] for each in page["messages"]] + depths
        before = page["before"]

    assert depths == list(range(N))
    assert len(page["messages"][0]["siblings"]) == 21


def test_r39_a_page_of_long_texts_ends_sooner(long_chat, as_bob):
    Message.objects.filter(depth__gte=N - 40).update(content="x" * 300_000)

    page = as_bob.get(f"/api/chats/{long_chat.pk}").json()

    assert len(page["messages"]) == 14
    assert page["before"] == page["messages"][0]["id"]


@pytest.fixture
def _statistics_of_before(bob):
    """What PostgreSQL's planner knows of the table is of when all in it answered one message."""
    if connection.vendor != "postgresql":
        return
    chat = Conversation.objects.create(user=bob)
    first = Message.objects.create(conversation=chat, role="user")
    versions = [
        Message(conversation=chat, parent=first, depth=1, role="assistant") for _ in range(300)
    ]
    Message.objects.bulk_create(versions)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE chat_message")


def test_r39_the_newest_end_of_a_deep_branch_is_found(long_chat, as_bob):
    first, last = str(long_chat.ids[0]), str(long_chat.ids[N - 1])
    as_bob("PATCH", f"/api/chats/{long_chat.pk}", {"leaf": first})

    began = time.perf_counter()
    shown = as_bob("PATCH", f"/api/chats/{long_chat.pk}", {"show": first}).json()

    assert shown["leaf"] == last
    assert time.perf_counter() - began < 1


def test_r39_an_engine_is_sent_what_fits(long_chat):
    last = Message.objects.get(pk=long_chat.ids[N - 2])

    unknown = prompt.write(long_chat, last, model="m", context=0, continues=False)
    small = prompt.write(long_chat, last, model="m", context=1000, continues=False)

    assert len(unknown.body["messages"]) <= 2000
    assert unknown.left_out == N - 1 - len(unknown.body["messages"])
    sent = small.body["messages"]
    assert sum(len(each["content"]) for each in sent) <= 750 * 3
    assert sent[0]["role"] == "user"
    assert sent[-1]["content"].startswith(f"{N - 2} ")


def test_r39_a_continued_answer_always_comes_with_its_question(long_chat):
    Message.objects.filter(pk=long_chat.leaf_id).update(content="x" * 5000)
    answer = Message.objects.get(pk=long_chat.leaf_id)

    sent = prompt.write(long_chat, answer, model="m", context=1000, continues=True).body["messages"]

    assert [each["role"] for each in sent] == ["user", "assistant"]


def test_r39_deleting_it_and_its_owner_takes_its_time_but_not_the_stack(
    long_chat, as_bob, as_alice, bob
):
    assert len(branches.ids_upwards(long_chat, long_chat.leaf_id)) == N
    copy = Conversation.objects.create(user=bob)

    began = time.perf_counter()
    assert as_bob.delete(f"/api/chats/{long_chat.pk}").status_code == 200
    assert time.perf_counter() - began < 5

    assert not Message.objects.filter(conversation=long_chat.pk).exists()
    copy.refresh_from_db()


def test_r39_s19_the_owner_of_a_long_one_can_be_deleted(long_chat, as_alice, bob):
    assert as_alice.delete(f"/api/auth/admin/users/{bob.pk}").status_code == 200
    assert not Message.objects.exists()


def test_r39_a_full_one_takes_no_more(long_chat, as_bob):
    Conversation.objects.filter(pk=long_chat.pk).update(n_messages=20_000)

    refused = as_bob.post(f"/api/chats/{long_chat.pk}/messages", {"content": "x"})

    assert refused.status_code == ConflictError.status
