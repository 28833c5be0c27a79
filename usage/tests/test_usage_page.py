"""The page about usage: whose it is, that its numbers are the API's, what it costs the database."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from usage.buckets import start_of
from usage.drain import drain
from usage.models import Grain, QuotaRule, UsageRollup
from usage.reports import ranking
from usage.tests.books import event
from usage.tests.usage_page import PAGE, PERIODS, journal_of, lines, page_of, some_usage, values

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder", "fresh_order")]


# --- who sees what ----------------------------------------------------------------------------


def test_r24_signed_out_people_come_back_to_usage_after_signing_in(anonymous):
    answer = anonymous.get(f"{PAGE}?period=day", accept="text/html")

    assert answer.status_code == 302
    assert answer["Location"] == "/login?next=%2Fapp%2Fusage%3Fperiod%3Dday"


def test_e14_nobody_sees_anothers_usage_on_the_page(as_bob, bob, alice):
    """Whatever the query names: `user`, `of`, `q` are an admin's."""
    event(datetime.now(UTC), u=str(alice.pk), un="alice", m="secret-model")

    for query in (f"?user={alice.pk}", "?of=all", "?q=alice", f"?period=all&user={alice.pk}"):
        html = page_of(as_bob, PAGE + query)
        assert "secret-model" not in html
        assert "By user" not in html
        assert "Accounting" not in html
        answer = as_bob.get(f"{PAGE}/csv{query}", accept="text/html")
        assert b"secret-model" not in answer.content


def test_r29_checking_the_books_is_the_admins_alone(as_bob, as_alice, bob):
    some_usage(bob)

    assert as_bob.client.post(f"{PAGE}/check").status_code == 403
    answer = as_alice.client.post(f"{PAGE}/check")
    html = page_of(as_alice)

    assert (answer.status_code, answer["Location"]) == (302, "/app/usage#accounting")
    body = as_alice.get("/api/accounting").json()
    assert "The books balance" in html
    for number in (body["events"], body["rollups"]["hours"], body["rollups"]["days"]):
        assert f'<dd class="tnum">{number}</dd>' in html


def test_r29_books_that_differ_are_said_with_the_days_concerned(as_alice, bob):
    some_usage(bob)
    row = UsageRollup.objects.filter(grain=Grain.HOUR).order_by("-bucket").first()
    UsageRollup.objects.filter(pk=row.pk).update(requests=row.requests + 3)
    as_alice.client.post(f"{PAGE}/check")

    html = page_of(as_alice)

    assert "The books differ by 3 requests" in html
    assert f"{start_of(Grain.HOUR, row.bucket):%-d %B %Y (%H:00)}" in html
    assert as_alice.get("/api/accounting").json()["findings"][0]["hours"] == [row.bucket % 24]
    assert "The books balance" not in html


# --- the numbers ------------------------------------------------------------------------------


@pytest.mark.parametrize("period", PERIODS)
def test_e14_e15_the_page_has_exactly_the_numbers_of_the_api(as_bob, bob, period):
    some_usage(bob)
    api = as_bob.get(f"/api/auth/usage?period={period}").json()
    sources = as_bob.get(f"/api/auth/usage/sources?period={period}").json()["totals"]
    names = ("request_count", "prompt_tokens", "completion_tokens", "total_tokens", "cost")

    html = page_of(as_bob, f"{PAGE}?period={period}")

    assert values(html, "usage-cards") == [api["totals"][name] for name in names]
    wanted = {}
    for row in api["usage"]:
        sums = wanted.setdefault(row["model"], [0] * 5)
        order = (names[0], names[1], names[2], names[4], names[3])
        wanted[row["model"]] = [a + row[b] for a, b in zip(sums, order, strict=True)]
    assert lines(html, "by-model") == wanted
    by_source = lines(html, "by-source")
    for key in sources["by_key"]:
        found = by_source[key["api_key_name"]]
        assert (found[0], found[4], found[3]) == (key["requests"], key["tokens"], key["cost"])
    if "web" in sources["by_source"]:
        web = sources["by_source"]["web"]
        assert (by_source["Web"][0], by_source["Web"][4]) == (web["requests"], web["tokens"])


@pytest.mark.parametrize("period", PERIODS)
def test_the_table_behind_the_chart_has_the_apis_buckets_and_the_empty_ones(as_bob, bob, period):
    some_usage(bob)
    api = as_bob.get(f"/api/auth/usage?period={period}&group_by=source").json()["usage"]
    wanted = {}
    for row in api:
        old = wanted.get(row["bucket"], (0, 0))
        wanted[row["bucket"]] = (old[0] + row["prompt_tokens"], old[1] + row["completion_tokens"])

    html = page_of(as_bob, f"{PAGE}?period={period}")

    found = re.findall(r'data-prompt="(\d+)" data-completion="(\d+)"', html)
    found = [(int(prompt), int(completion)) for prompt, completion in found]
    assert [each for each in reversed(found) if each != (0, 0)] == [
        each for each in wanted.values() if each != (0, 0)
    ]
    assert len(found) == {"day": 25, "week": 8, "month": 31, "all": 6}[period]


def test_s13_what_is_in_the_journal_is_on_the_page_at_once(as_bob, bob):
    mine = {"u": str(bob.pk), "un": "bob", "s": "web", "ki": None, "kn": None}
    journal_of({**mine, "p": 40, "c": 2}, {**mine, "p": 1, "c": 1})

    found = values(page_of(as_bob), "usage-cards")

    assert found[:4] == [2, 41, 3, 44]
    totals = as_bob.get("/api/auth/usage").json()["totals"]
    assert (totals["request_count"], totals["total_tokens"]) == (2, 44)


def test_s54_cost_is_the_servers_and_exact(as_bob, as_alice, bob):
    as_alice.post("/api/auth/admin/prices", {"model": "m", "prompt": 2, "completion": 8})
    event(datetime.now(UTC), u=str(bob.pk), un="bob", p=1_000_000, c=1_000)
    cost = as_bob.get("/api/auth/usage").json()["totals"]["cost"]

    html = page_of(as_bob)

    assert cost == 2_008_000_000
    assert values(html, "usage-cards")[4] == cost
    assert ">$2.01</data>" in html


def test_failed_requests_are_said_and_not_counted(as_bob, bob):
    some_usage(bob)

    html = page_of(as_bob)

    assert values(html, "usage-cards")[0] == 4
    assert "1 failed" in html


# --- everybody --------------------------------------------------------------------------------


@pytest.mark.parametrize("period", PERIODS)
def test_e28_everybodys_totals_and_people_are_the_apis(as_alice, alice, bob, period):
    some_usage(bob)
    event(datetime.now(UTC), u=str(alice.pk), un="alice", p=9, c=9)
    event(datetime.now(UTC), u="legacy-api-key", un="API Key User", s="legacy", ki=None, kn=None)
    api = as_alice.get(f"/api/auth/admin/usage?period={period}&group_by=user").json()

    html = page_of(as_alice, f"{PAGE}?period={period}")

    assert values(html, "usage-cards")[0] == api["totals"]["request_count"]
    assert values(html, "usage-cards")[3] == api["totals"]["total_tokens"]
    found = lines(html, "by-user")
    assert found["bob"][4] == sum(
        row["total_tokens"] for row in api["usage"] if row["user_id"] == str(bob.pk)
    )
    assert found["alice"][4] == 18
    assert found["Legacy"][0] == 1
    assert next(iter(found)) == "bob"  # most tokens first
    assert "3 people" in html


def test_one_person_is_opened_below_their_line(as_alice, bob):
    some_usage(bob)
    QuotaRule.objects.create(user=bob, model="", window_s=3600, max_requests=100)

    html = page_of(as_alice, f"{PAGE}?user={bob.pk}")

    assert f'id="open-{bob.pk}"' in html
    assert 'aria-expanded="true"' in html
    detail = html[html.index('class="detail"') :]
    assert "ci-runner" in detail
    assert "All models, per hour" in detail
    own = page_of(as_alice, f"{PAGE}?of=me")
    assert values(own, "usage-cards")[0] == 0  # alice's own


def test_somebody_who_is_not_on_the_page_is_shown_alone(as_alice, make_user, bob):
    now = datetime.now(UTC)
    for i in range(30):
        event(now, u=str(make_user(f"u{i}@example.org").pk), un=f"u{i}", p=1000 + i)
    event(now, u=str(bob.pk), un="bob", p=1, c=0)

    html = page_of(as_alice, f"{PAGE}?user={bob.pk}")

    assert list(lines(html, "by-user")) == []  # his row is the opened one
    assert "bob@example.org" in html
    assert "Show everybody" in html


def test_everybody_is_paged_and_searched(as_alice, make_user):
    now = datetime.now(UTC)
    for i in range(60):
        user = make_user(f"person-{i:02}@example.org")
        event(now, u=str(user.pk), un=user.name, p=10_000 - i)

    first, last = page_of(as_alice), page_of(as_alice, f"{PAGE}?page=3")
    found = page_of(as_alice, f"{PAGE}?q=PERSON-17%40")
    nobody = page_of(as_alice, f"{PAGE}?q=nobody-at-all")

    assert next(iter(lines(first, "by-user"))) == "person-00"
    assert len(lines(first, "by-user")) == 25
    assert "1 to 25 of 60" in first
    assert list(lines(last, "by-user")) == [f"person-{i}" for i in range(50, 60)]
    assert list(lines(found, "by-user")) == ["person-17"]
    assert "Nobody found" in nobody


@pytest.mark.parametrize(
    "query",
    ["page=0", "page=-1", "page=99999999999", "page=x", "period=fortnight", "user=%27", "q=%25_"],
)
def test_bad_queries_are_no_errors(as_alice, bob, query):
    some_usage(bob)

    page_of(as_alice, f"{PAGE}?{query}")


# --- cost of a page ---------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["?of=me", "", "?user=BOB", "?q=example", "?period=all"])
def test_w25_w26_the_page_asks_a_fixed_number_of_queries(as_alice, bob, make_user, query):
    path = PAGE + query.replace("BOB", str(bob.pk))
    some_usage(bob)
    drain()

    def asked():
        with CaptureQueriesContext(connection) as queries:
            page_of(as_alice, path)
        return len(queries)

    asked()
    first = asked()
    for i in range(12):
        user = make_user(f"u{i}@example.org")
        for j in range(4):
            moment = datetime.now(UTC) - timedelta(days=i)
            event(moment, u=str(user.pk), un=user.name, m=f"m{j}", ki=f"k{j}{i}")
        QuotaRule.objects.create(user=bob, model=f"m{i}", window_s=60, max_requests=5)

    asked()  # a new rule's counters are made once

    assert asked() == first <= 18


def test_legacy_keys_see_the_page_too(db):
    from tests.people import Api

    html = page_of(Api(key="legacy-key-one"), f"{PAGE}?of=me")

    assert "You have no quotas" in html or "No requests" in html


def test_an_order_that_took_long_is_kept_and_its_numbers_are_of_now(as_alice, bob, monkeypatch):
    monkeypatch.setattr(ranking, "KEPT_FROM_S", 0.0)
    monkeypatch.setattr(ranking, "KEPT_TIMES", 10**9)
    some_usage(bob)
    before = lines(page_of(as_alice), "by-user")["bob"]
    event(datetime.now(UTC), u=str(bob.pk), un="bob", p=100, c=0)

    after = lines(page_of(as_alice), "by-user")["bob"]

    assert after[4] == before[4] + 100
