"""5.4 to 5.6, S-17, S-20, S-49, S-50: the four periods, one's own and everybody's."""

from datetime import UTC, datetime, timedelta

import pytest
import uuid_utils.compat
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.errors import InvalidRequestError
from usage.drain import drain
from usage.models import UsageEvent
from usage.reports import usage_report

NOW = datetime(2026, 3, 18, 14, 30, tzinfo=UTC)


def event(ago=timedelta(0), *, user="u1", name="Bob", model="m", p=10, c=5, counted=True):
    return UsageEvent.objects.create(
        id=uuid_utils.compat.uuid7(),
        created_at=NOW - ago,
        user_id=user,
        user_name=name,
        source="web",
        model=model,
        served_model=model,
        endpoint="/v1/chat/completions",
        prompt_tokens=p,
        completion_tokens=c,
        status=200 if counted else 502,
        counted=counted,
    )


def report(period, user_id="u1", by_user=False):
    return usage_report(period, now=NOW, user_id=user_id, by_user=by_user)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("period", "bucket", "start", "outside"),
    [
        ("day", "2026-03-18 14:00", "2026-03-17T14:00:00Z", timedelta(hours=25)),
        ("week", "2026-03-18", "2026-03-11T14:00:00Z", timedelta(days=8)),
        ("month", "2026-03-18", "2026-02-16T14:00:00Z", timedelta(days=31)),
        ("", "2026-03-18", "2026-02-16T14:00:00Z", timedelta(days=31)),
        ("all", "2026-03", "2026-03-18T14:30:00Z", None),
    ],
)
def test_each_period_has_its_window_and_its_buckets(period, bucket, start, outside):
    event()
    if outside:
        event(outside)

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
        }
    ]
    assert body["from"] == start
    assert body["to"] == "2026-03-18T14:30:00Z"


@pytest.mark.django_db
def test_s50_the_window_begins_with_its_hour():
    event(timedelta(hours=24, minutes=20))

    assert report("day")["totals"]["request_count"] == 1


@pytest.mark.django_db
def test_s17_errors_are_a_field_of_their_own():
    event()
    event(p=0, c=0, counted=False)

    totals = report("day")["totals"]

    assert (totals["request_count"], totals["error_count"], totals["total_tokens"]) == (1, 1, 15)


@pytest.mark.django_db
def test_everybodys_rows_name_the_person_and_can_be_filtered():
    event()
    event(user="u2", name="Eve")

    rows = report("day", user_id=None, by_user=True)["usage"]

    assert [(row["user_id"], row["user_name"]) for row in rows] == [("u1", "Bob"), ("u2", "Eve")]
    assert report("day", user_id="nobody", by_user=True)["usage"] == []


def test_s20_an_unknown_period_lists_the_known_ones():
    with pytest.raises(InvalidRequestError, match="day, week, month, all"):
        report("fortnight")


def test_e14_nobody_sees_anothers_usage(as_bob, bob, alice):
    event(timezone.now() - NOW, user=str(alice.pk))

    body = as_bob.get(f"/api/auth/usage?period=all&user_id={alice.pk}").json()

    assert body["usage"] == []
    assert body["from"] is None


def test_e28_an_admin_sees_everybodys(as_alice, bob):
    event(NOW - timezone.now(), user=str(bob.pk))

    assert as_alice.get("/api/auth/admin/usage?period=day").json()["totals"]["request_count"] == 1
    answer = as_alice.get("/api/auth/admin/usage?period=nope")
    assert (answer.status_code, "period" in answer.json()["error"]) == (400, True)


def test_a_report_asks_a_fixed_number_of_queries(as_alice):
    """However much is in it; what is in the journal is brought in first, once."""

    def asked():
        with CaptureQueriesContext(connection) as queries:
            as_alice.get("/api/auth/admin/usage?period=month")
        return len(queries)

    drain()
    first = asked()
    for i in range(10):
        event(timedelta(days=i), model=f"m{i}")

    assert asked() == first <= 4
