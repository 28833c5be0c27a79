"""The chat page from the server's side (R-24, R-39): rights, words, queries, hostile input."""

import json
import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from accounts import runtime
from accounts.tests.test_pages import form
from chat import conversations
from chat.models import Conversation, Message
from chat.tests.conftest import conversation, told
from chat.ui import side_list
from inference.models import Model
from tests.people import Api
from usage.models import QuotaRule

HOSTILE = "<script>alert(1)</script>\"'&"
# session, user, chat with its leaf, its page, files, siblings, models, history, list, quotas
N_QUERIES = 10


def get(api, path="/app/chat", **headers):
    return api.get(path, accept="text/html", **headers)


def page_of(api, path="/app/chat", **headers):
    answer = get(api, path, **headers)
    assert answer.status_code == 200, answer.content[:2000]
    return answer.content.decode()


def state_of(html):
    return json.loads(re.search(r'id="chat-state" type="application/json">(.*?)</script>', html)[1])


def models_of(html):
    return re.findall(r'<option value="([^"]*)"', html)


@pytest.mark.django_db
def test_r24_nobody_is_sent_to_sign_in_and_back(anonymous):
    for path in ("/app/chat", "/app/chat/qwen3-8b", "/app/chat/org/model"):
        answer = get(anonymous, path)
        assert answer.status_code == 302
        assert answer.headers["location"].startswith("/login?next=%2Fapp%2Fchat")


@pytest.mark.django_db
def test_r24_without_the_feature_one_is_sent_home(as_bob, bob):
    bob.permissions = {"chat": False}
    bob.save()
    answer = get(as_bob)
    assert answer.status_code == 302
    assert answer.headers["location"].startswith("/app?notice=")


@pytest.mark.django_db
def test_r39_another_ones_chat_is_404_for_a_user_and_an_admin(as_alice, as_mallory, bob, engine):
    chat = conversation(bob, "hello")
    for api in (as_alice, as_mallory):
        assert get(api, f"/app/chat/{chat.pk}").status_code == 404
        assert "hello" not in page_of(api)


@pytest.mark.django_db
def test_a_chat_shows_its_branch_as_text_and_its_state_without_texts(as_bob, bob, engine):
    chat = conversation(bob, HOSTILE)
    Conversation.objects.filter(pk=chat.pk).update(title=HOSTILE)
    html = page_of(as_bob, f"/app/chat/{chat.pk}")
    assert "<script>alert" not in html
    assert "answer to &lt;script&gt;alert(1)&lt;/script&gt;" in html
    state = state_of(html)
    assert state["chat"]["title"] == HOSTILE
    assert [each["role"] for each in state["messages"]] == ["user", "assistant"]
    assert all("content" not in each for each in state["messages"])
    assert "style=" not in html
    assert not re.search(r"<script(?![^>]*(src=|application/json))", html)


@pytest.mark.django_db
def test_the_picker_offers_what_one_may_use(as_bob, bob, engine, settings):
    engines = [*settings.GATEHOUSE.engines, f"other={engine.url}"]
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"engines": engines})
    assert models_of(page_of(as_bob)) == ["m", "other"]
    bob.allowed_models = ["other"]
    bob.models_restricted = True
    bob.save()
    assert models_of(page_of(as_bob)) == ["other"]


@pytest.mark.django_db
def test_the_address_of_a_model_begins_with_it(as_bob, engine):
    Model.objects.create(name="org/other", backend="vllm-cpu", capabilities=["chat"])
    assert '<option value="org/other" selected>' in page_of(as_bob, "/app/chat/org/other")
    html = page_of(as_bob, "/app/chat/nothing%22%3E")
    assert "You may not use this model." in html
    assert len(re.findall(r'<option value="[^"]+" selected>', html)) == 1


@pytest.mark.django_db
def test_the_page_takes_the_same_queries_whatever_there_is(
    as_bob, bob, engine, django_assert_num_queries
):
    few = conversation(bob, "hello", "there")
    page_of(as_bob, f"/app/chat/{few.pk}")
    with django_assert_num_queries(N_QUERIES):
        page_of(as_bob, f"/app/chat/{few.pk}")
    many = conversation(bob, *(f"line {i}" for i in range(60)))
    for i in range(80):
        Conversation.objects.create(user=bob, title=f"chat {i}")
    with django_assert_num_queries(N_QUERIES):
        html = page_of(as_bob, f"/app/chat/{many.pk}")
    assert html.count("<article") >= 50
    assert state_of(html)["before"]
    assert "Show more" in html


@pytest.mark.django_db
def test_the_list_is_searched_and_continued(as_bob, bob, as_mallory, mallory, engine):
    for i in range(70):
        Conversation.objects.create(user=bob, title=f"chat {i} {HOSTILE}")
    Conversation.objects.create(user=mallory, title="chat of mallory")
    html = page_of(as_bob, "/app/chat/list?q=chat")
    assert html.count("data-chat=") == 50
    assert "mallory" not in html
    assert "<script" not in html
    more = re.search(r'href="([^"]*)" data-more', html)[1].replace("&amp;", "&")
    rest = page_of(as_bob, more)
    assert rest.count("data-chat=") == 20
    assert "data-more" not in rest
    nothing = page_of(as_bob, "/app/chat/list?q=%3Cb%3Enothing")
    assert "Nothing found for <bdi>&lt;b&gt;nothing</bdi>" in nothing
    assert page_of(as_bob, "/app/chat/list?cursor=made-up").count("data-chat=") == 50


def test_the_list_goes_by_the_readers_days():
    now = datetime(2026, 11, 26, 0, 30, tzinfo=UTC)
    moments = [now, now - timedelta(hours=1), now - timedelta(days=3), now - timedelta(days=40)]
    found = [Conversation(title=str(i), updated_at=at) for i, at in enumerate(moments)]

    def groups(zone):
        return [(str(g.heading), len(g.conversations)) for g in side_list.by_day(found, now, zone)]

    days = [("Today", 1), ("Yesterday", 1), ("Last 7 days", 1), ("October 2026", 1)]
    assert groups(UTC) == days
    assert groups(ZoneInfo("Asia/Tokyo")) == [("Today", 2), *days[2:]]


@pytest.mark.parametrize("cookie", ["../../etc/passwd", "Nowhere/Land", "x" * 5000, "\x00", "UTC"])
def test_a_zone_that_somebody_made_up_is_utc(rf, cookie):
    request = rf.get("/app/chat")
    request.COOKIES["tz"] = cookie
    assert datetime.now(side_list.zone_of(request)).utcoffset() == timedelta(0)


@pytest.mark.django_db
def test_what_is_left_and_a_limit_that_is_reached_are_said(as_bob, bob, engine):
    rule = QuotaRule.objects.create(user=bob, window_s=604_800, max_total_tokens=1_000_000)
    html = page_of(as_bob)
    assert "<bdi>1,000,000</bdi> of <bdi>1,000,000</bdi> tokens left this week" in html
    rule.delete()
    QuotaRule.objects.create(user=bob, window_s=3600, model="m", max_requests=0)
    html = page_of(as_bob, "/app/chat/quota?model=m")
    assert "Hourly limit of m reached." in html
    assert "data-reached" not in page_of(as_bob, "/app/chat/quota?model=other")
    assert re.search(r"data-send disabled", page_of(as_bob))


@pytest.mark.django_db
def test_admins_have_no_quota_to_show(as_alice, alice, engine):
    QuotaRule.objects.create(user=alice, window_s=3600, max_requests=0)
    assert "data-reached" not in page_of(as_alice)


@pytest.mark.django_db
def test_r39_history_off_is_said(as_bob, bob, engine, settings):
    conversations.keep_history(str(bob.pk), keep=False)
    assert state_of(page_of(as_bob))["history"] == {"on": False, "offBy": "user"}
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"chat_history": False})
    html = page_of(as_bob)
    assert state_of(html)["history"] == {"on": False, "offBy": "server"}
    assert "Switched off on this server." in html


@pytest.mark.django_db
def test_no_model_is_said_with_what_to_do(as_bob, as_alice, settings):
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"engines": []})
    assert "There is no model to talk to." in page_of(as_bob)
    assert "Install one first." in page_of(as_alice)


@pytest.mark.django_db(transaction=True)
def test_the_form_without_script_begins_an_answer(as_bob, bob, engine):
    answer = form(as_bob, "/app/chat", content=told(tokens=3), model="m")
    assert answer.status_code == 302, answer.content[:500]
    chat = Conversation.objects.get(user=bob)
    assert answer.headers["location"] == f"/app/chat/{chat.pk}"
    deadline = timezone.now() + timedelta(seconds=10)
    while Message.objects.filter(status="streaming").exists() and timezone.now() < deadline:
        pass
    assert "token token token" in page_of(as_bob, f"/app/chat/{chat.pk}")


@pytest.mark.django_db(transaction=True)
def test_a_refusal_without_script_keeps_what_was_typed(as_bob, bob, engine):
    words = told(status=500) + HOSTILE
    answer = form(as_bob, "/app/chat", content=told(status=500), model="m")
    assert answer.status_code == 422
    assert b"m did not answer." in answer.content
    assert b"&quot;status&quot;: 500" in answer.content
    assert not Conversation.objects.filter(user=bob).exists()
    empty = form(as_bob, "/app/chat", content="  ", model="m")
    assert b"Write something first." in empty.content
    long = form(as_bob, "/app/chat", content=words * 9000, model="m")
    assert long.status_code in {200, 422}


@pytest.mark.django_db
def test_without_accounts_the_page_talks_and_keeps_nothing(settings, engine):
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"auth": False, "api_key": []})
    runtime.forget_auth_mode()
    try:
        html = page_of(Api())
    finally:
        runtime.forget_auth_mode()
    assert state_of(html)["history"] == {"on": False, "offBy": "nobody"}
    assert state_of(html)["hasAccount"] is False
    assert models_of(html) == ["m"]
