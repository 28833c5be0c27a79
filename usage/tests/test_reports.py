"""5.4 to 5.9, S-17, S-20, S-49, S-50: periods, any window, one's own and everybody's."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.people import Api
from usage.drain import drain
from usage.reports.sums import Filters, Question
from usage.reports.usage import usage_report
from usage.reports.windows import rolling_window
from usage.tests.books import event

pytestmark = pytest.mark.usefixtures("folder")
NOW = datetime(2026, 3, 18, 14, 30, tzinfo=UTC)


def report(period, user_id="u1", *, now=NOW, groups=("model",)):
    question = Question(rolling_window(period, now), list(groups), Filters(user_id=user_id))
    return usage_report(question, as_of=now)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("period", "bucket", "start", "outside"),
    [
        ("day", "2026-03-18 14:00", "2026-03-17T14:00:00Z", timedelta(hours=25)),
        ("week", "2026-03-18", "2026-03-11T14:00:00Z", timedelta(days=7, hours=1)),
        ("month", "2026-03-18", "2026-02-16T14:00:00Z", timedelta(days=30, hours=1)),
        ("", "2026-03-18", "2026-02-16T14:00:00Z", timedelta(days=31)),
        ("all", "2026-03", None, None),
    ],
)
def test_u12_u13_e14_each_period_has_its_window_and_its_buckets(period, bucket, start, outside):
    event(NOW)
    if outside:
        event(NOW - outside)

    body = report(period)

    assert body["usage"] == [
        {
            "bucket": bucket,
            "model": "m",
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 15,
            "request_count": 1,
            "error_count": 0,
            "cached_tokens": 0,
            "cost": 0,
        }
    ]
    assert body["from"] == start
    assert body["to"] == "2026-03-18T14:30:00Z"


@pytest.mark.django_db
@pytest.mark.parametrize("period", ["day", "week", "month"])
def test_s50_the_window_begins_with_its_hour(period):
    days = {"day": 1, "week": 7, "month": 30}[period]
    event(NOW - timedelta(days=days, minutes=20))
    event(NOW - timedelta(days=days, minutes=31))

    assert report(period)["totals"]["request_count"] == 1


@pytest.mark.django_db
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Chatham"])
@pytest.mark.parametrize(
    "now", [datetime(2026, 3, 8, 8, tzinfo=UTC), datetime(2026, 11, 1, 7, tzinfo=UTC)]
)
def test_w31_buckets_are_utc_where_clocks_change(zone, now, monkeypatch):
    """The days on which New York's clocks move: 24 hours each, whatever zone the database speaks in."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('TimeZone', %s, true)", [zone])
    monkeypatch.setenv("TZ", zone)
    midnight = now.replace(hour=0)
    for hour in range(24):
        event(midnight + timedelta(hours=hour, minutes=59))

    hourly = report("day", now=midnight + timedelta(hours=23, minutes=59))["usage"]
    daily = report("week", now=midnight + timedelta(hours=23, minutes=59))["usage"]

    assert [row["bucket"] for row in hourly] == [
        f"{midnight:%Y-%m-%d} {h:02}:00" for h in range(24)
    ]
    assert [(row["bucket"], row["request_count"]) for row in daily] == [
        (f"{midnight:%Y-%m-%d}", 24)
    ]


@pytest.mark.django_db
def test_s17_errors_are_a_field_of_their_own():
    event(NOW)
    event(NOW, p=0, c=0, n=False, st=502)

    totals = report("day")["totals"]

    assert (totals["request_count"], totals["error_count"], totals["total_tokens"]) == (1, 1, 15)


@pytest.mark.django_db
def test_u14_everybodys_rows_name_the_person_and_can_be_filtered():
    event(NOW)
    event(NOW, u="u2", un="Eve")

    rows = report("day", user_id=None, groups=("model", "user"))["usage"]

    assert [(row["user_id"], row["user_name"]) for row in rows] == [("u1", "Bob"), ("u2", "Eve")]
    assert report("day", user_id="nobody", groups=("model", "user"))["usage"] == []


@pytest.mark.django_db
def test_w31_a_new_name_makes_no_second_row():
    event(NOW - timedelta(hours=1), un="Bob")
    event(NOW, un="Robert")

    (row,) = report("month", user_id=None, groups=("model", "user"))["usage"]

    assert (row["user_name"], row["request_count"]) == ("Robert", 2)


def test_s20_w31_an_unknown_period_lists_the_known_ones(as_bob):
    answer = as_bob.get("/api/auth/usage?period=fortnight")

    assert answer.status_code == 400
    assert "day, week, month, all" in answer.json()["error"]


@pytest.mark.parametrize(
    "query",
    [
        "from=yesterday",
        "period=day&from=2026-03-18",
        "period=all&bucket=hour",
        "from=2026-03-18&to=2026-03-18",
        "from=2026-03-18T15:00:00Z&to=2026-03-18T14:00:00Z",
        "bucket=week",
        "from=1066-10-14",
        "from=2020-01-01&bucket=hour",
        "group_by=colour",
        "order=price",
        "limit=0",
        "limit=x",
        "group_by=model;drop",
    ],
)
def test_what_is_no_window_or_group_is_400(as_alice, query):
    answer = as_alice.get(f"/api/auth/admin/usage?{query}")

    assert (answer.status_code, type(answer.json()["error"])) == (400, str)


@pytest.mark.django_db
def test_any_window_is_exact_to_the_hour_whatever_its_buckets(as_alice):
    """Against a plain sum, over two months with events at every edge."""
    start = datetime(2026, 1, 30, 22, tzinfo=UTC)
    moments = [start + timedelta(hours=7 * i, minutes=i % 60) for i in range(220)]
    for i, moment in enumerate(moments):
        event(moment, p=i, m=f"m{i % 3}", u=f"u{i % 2}")

    ends = [
        ("2026-01-31T05:00:00Z", "2026-03-02T01:00:00Z"),
        ("2026-02-01", "2026-03-01"),
        ("2026-02-14T13:00:00Z", "2026-02-14T17:00:00Z"),
        ("2026-01-30", "2026-04-05T03:00:00+02:00"),
    ]
    for low, high in ends:
        first, past = (datetime.fromisoformat(each) for each in (low, high))
        first, past = (each if each.tzinfo else each.replace(tzinfo=UTC) for each in (first, past))
        wanted = [i for i, moment in enumerate(moments) if first <= moment < past]
        for bucket in ("hour", "day", "month", "none"):
            for groups in ("model", "user", "model,user,source,key,endpoint"):
                ends_of = f"from={quote(low)}&to={quote(high)}"
                totals = as_alice.get(
                    f"/api/auth/admin/usage?{ends_of}&bucket={bucket}&group_by={groups}"
                ).json()["totals"]
                assert totals["request_count"] == len(wanted), (low, high, bucket, groups)
                assert totals["prompt_tokens"] == sum(wanted)


def test_groups_can_be_ordered_and_cut(as_alice):
    now = datetime.now(UTC)
    for i in range(5):
        event(now, u=f"u{i}", un=f"U{i}", p=100 * i)

    body = as_alice.get(
        "/api/auth/admin/usage?bucket=none&group_by=user&order=tokens&limit=2"
    ).json()

    assert [row["user_id"] for row in body["usage"]] == ["u4", "u3"]
    assert "bucket" not in body["usage"][0]


def test_e14_nobody_sees_anothers_usage(as_bob, bob, alice):
    event(datetime.now(UTC), u=str(alice.pk))

    for path in ("usage", "usage/sources", "usage/latency", "usage/export"):
        period = "week" if path.endswith("latency") else "all"
        answer = as_bob.get(f"/api/auth/{path}?period={period}&user_id={alice.pk}")
        content = b"".join(answer.streaming_content) if answer.streaming else answer.content
        assert str(alice.pk).encode() not in content
        assert b"/v1/chat" not in content
    assert as_bob.get(f"/api/auth/usage?user_id={alice.pk}").json()["usage"] == []


def test_e28_an_admin_sees_everybodys(as_alice, bob):
    event(datetime.now(UTC), u=str(bob.pk))

    assert as_alice.get("/api/auth/admin/usage?period=day").json()["totals"]["request_count"] == 1
    answer = as_alice.get("/api/auth/admin/usage?period=nope")
    assert (answer.status_code, "period" in answer.json()["error"]) == (400, True)


@pytest.mark.parametrize("path", ["usage", "usage/sources", "usage/latency"])
def test_w25_w26_a_report_asks_a_fixed_number_of_queries(as_alice, path):
    """However much is in it; what is in the journal is brought in first, once."""

    def asked():
        with CaptureQueriesContext(connection) as queries:
            assert as_alice.get(f"/api/auth/admin/{path}?period=month").status_code == 200
        return len(queries)

    drain()
    first = asked()
    for i in range(10):
        event(datetime.now(UTC) - timedelta(days=i), m=f"m{i}", u=f"u{i}")

    assert asked() == first <= 4


def test_e15_u15_ones_own_by_source_and_key(as_bob, bob):
    """The shape of 5.7: no key on rows without one, no legacy, a total per source and per key."""
    now = datetime.now(UTC).replace(microsecond=0)
    mine = {"u": str(bob.pk), "un": "bob"}
    event(now, **mine, ki="k1", kn="ci-runner")
    event(now - timedelta(hours=3), **mine, ki="k1", kn="ci-runner", p=1, c=1)
    event(now, **mine, s="web", ki=None, kn=None)
    event(now, **mine, ki="k2", kn="other", n=False, st=429, p=0, c=0)

    body = as_bob.get("/api/auth/usage/sources?period=month").json()

    assert body["truncated"] is False
    assert body["totals"]["grand_total"] == {
        "tokens": 32,
        "requests": 3,
        "error_count": 1,
        "cost": 0,
    }
    assert {k: (v["tokens"], v["requests"]) for k, v in body["totals"]["by_source"].items()} == {
        "apikey": (17, 2),
        "web": (15, 1),
    }
    first, second = body["totals"]["by_key"]
    assert (first["api_key_id"], first["api_key_name"], first["user_id"]) == (
        "k1",
        "ci-runner",
        str(bob.pk),
    )
    assert first["last_used"].startswith(now.strftime("%Y-%m-%dT%H:%M:%S"))
    assert second["requests"] == 0
    web = [row for row in body["buckets"] if row["source"] == "web"]
    assert "api_key_id" not in web[0]
    assert "user_id" not in web[0]
    assert "by_user_source" not in body["totals"]


def test_e29_u16_everybodys_by_source_with_filters(as_alice):
    now = datetime.now(UTC)
    event(now, u="u1", un="Bob", ki="k1")
    event(now, u="u2", un="Eve", ki="k2", p=100)
    event(now, u="legacy-api-key", un="API Key User", s="legacy", ki=None, kn=None)
    event(now, u="u2", un="Eve", s="web", ki=None, kn=None, p=1)

    body = as_alice.get("/api/auth/admin/usage/sources?period=day").json()
    filtered = as_alice.get(
        "/api/auth/admin/usage/sources?period=day&user_id=u2&api_key_id=k2"
    ).json()

    assert [key["api_key_id"] for key in body["totals"]["by_key"]] == ["k2", "k1"]
    assert {row["user_id"] for row in body["buckets"]} == {"u1", "u2", "legacy-api-key"}
    assert [(r["source"], r["user_id"], r["tokens"]) for r in body["totals"]["by_user_source"]] == [
        ("legacy", "legacy-api-key", 15),
        ("web", "u2", 6),
    ]
    assert filtered["totals"]["grand_total"]["requests"] == 1


def test_w31_more_keys_than_are_listed_are_said_in_both_reports(as_bob, bob):
    now = datetime.now(UTC)
    for i in range(201):
        event(now, u=str(bob.pk), ki=f"k{i}", kn=f"key {i}")

    body = as_bob.get("/api/auth/usage/sources?period=day").json()

    assert (len(body["totals"]["by_key"]), body["truncated"]) == (200, True)


def test_e38_e39_u17_the_twins_that_work_in_every_mode(as_bob, as_alice, bob):
    event(datetime.now(UTC), u=str(bob.pk))

    mine = as_bob.get("/api/usage?period=day").json()
    refused = as_bob.get("/api/usage/all")
    everybodys = as_alice.get(f"/api/usage/all?user_id={bob.pk}").json()

    assert mine["viewer"] == {"id": str(bob.pk), "name": "bob", "role": "user", "provider": "local"}
    assert mine["totals"]["request_count"] == 1
    assert (refused.status_code, refused.json()) == (403, {"error": "admin access required"})
    assert everybodys["usage"][0]["user_id"] == str(bob.pk)


def test_e38_u05_without_accounts_the_one_user_is_local_and_admin(settings, db):
    from accounts.runtime import forget_auth_mode

    update = {"auth": False, "api_key": [], "address": "127.0.0.1:8080"}
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update=update)
    forget_auth_mode()
    try:
        event(datetime.now(UTC), u="local", un="Local", s="web", ki=None, kn=None)
        body = Api().get("/api/usage/all?period=day").json()
        assert Api().get("/api/auth/usage").status_code == 404
    finally:
        settings.GATEHOUSE = settings.GATEHOUSE.model_copy(
            update={"auth": True, "api_key": ["legacy-key-one", "legacy-key-two"]}
        )
        forget_auth_mode()

    assert (body["viewer"]["id"], body["viewer"]["role"]) == ("local", "admin")
    assert body["totals"]["request_count"] == 1


def test_e38_e39_c15_u18_without_stats_it_says_so(as_alice, settings):
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"disable_stats": True})

    for path in ("/api/usage", "/api/usage/all"):
        answer = as_alice.get(path)
        assert answer.status_code == 503
        assert answer.json() == {"error": "usage tracking is disabled (--disable-stats)"}


@time_machine.travel(datetime(2026, 3, 1, 0, 0, 30, tzinfo=UTC))
def test_periods_over_the_end_of_a_month(as_alice):
    event(datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC))
    event(datetime(2026, 3, 1, 0, 0, 10, tzinfo=UTC))

    def buckets(period):
        body = as_alice.get(f"/api/auth/admin/usage?period={period}&group_by=model").json()
        return [row["bucket"] for row in body["usage"]]

    assert buckets("day") == ["2026-02-28 23:00", "2026-03-01 00:00"]
    assert buckets("week") == ["2026-02-28", "2026-03-01"]
    assert buckets("all") == ["2026-02", "2026-03"]


def test_a_period_may_have_other_buckets(as_alice):
    event(datetime.now(UTC))
    event(datetime.now(UTC) - timedelta(days=3))

    def totals(query):
        return as_alice.get(f"/api/auth/admin/usage?{query}").json()["totals"]["request_count"]

    assert [totals(f"period=day&bucket={b}") for b in ("none", "day", "hour")] == [1, 1, 1]
    assert totals("period=week&bucket=none") == 2
    sources = as_alice.get("/api/auth/admin/usage/sources?period=week&bucket=none").json()
    assert "bucket" not in sources["buckets"][0]
