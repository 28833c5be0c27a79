"""R-29: `GET` and `POST /api/accounting`, the books as admins see and check them."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError, connection

from core.files import exclusive
from usage import books
from usage.drain import journal_folder
from usage.models import BooksCheck, Grain, UsageRollup
from usage.tests.books import event

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/api/accounting"


@pytest.fixture
def some_usage(folder):
    now = datetime.now(UTC)
    for i in range(12):
        event(now - timedelta(hours=i), m="m", u="u")
    return now


def test_r29_before_the_first_comparison_there_is_the_journal_alone(as_alice, folder):
    """GET /api/accounting: null for what nobody has looked at yet."""
    found = as_alice.get(PATH).json()

    assert found["journal"]["bytes"] == found["journal"]["segments"] == 0
    nothing = ("events", "rollups", "difference", "checked_at")
    assert [found[name] for name in nothing] == [None] * 4
    assert found["findings"] == []


def test_r29_a_check_now_brings_in_and_compares_everything(as_alice, some_usage):
    """POST /api/accounting: journal, events and rollups; what it found is what GET shows afterwards."""
    found = as_alice.post(PATH)

    assert found.status_code == 200
    body = found.json()
    assert (body["difference"], body["findings"]) == (0, [])
    assert body["events"] == body["rollups"]["hours"] == body["rollups"]["days"] == 12
    assert body["checked_at"].endswith("Z")
    assert as_alice.get(PATH).json() == body
    assert BooksCheck.objects.count() == 1


def test_r29_a_difference_is_told_with_its_sums(as_alice, some_usage):
    as_alice.post(PATH)
    row = UsageRollup.objects.filter(grain=Grain.DAY).order_by("-bucket").first()
    UsageRollup.objects.filter(pk=row.pk).update(prompt_tokens=row.prompt_tokens + 3)

    found = as_alice.post(PATH).json()

    assert found["difference"] > 0
    assert {each["difference"] > 0 for each in found["findings"]} == {True}
    assert any("events" in each["sums"] for each in found["findings"])


def test_r29_one_comparison_at_a_time(as_alice, some_usage):
    with exclusive(journal_folder() / ".check.lock"):
        refused = as_alice.post(PATH)
        page = as_alice.client.post("/app/system/check")

    assert refused.status_code == 409
    assert refused.json() == {"error": "The books are being compared at this moment."}
    assert page.status_code in {302, 403}  # the page goes on, or its form's token is missing
    assert BooksCheck.objects.count() == 0
    assert as_alice.post(PATH).status_code == 200


def test_r29_w32_a_comparison_is_broken_off_when_it_takes_too_long(
    as_alice, some_usage, monkeypatch
):
    slow = {
        "sqlite": "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n"
        " WHERE x < 100000000) SELECT MAX(x) FROM n",
        "postgresql": "SELECT pg_sleep(20)",
    }[connection.vendor]

    def days(_now):
        with connection.cursor() as cursor:
            cursor.execute(slow)
        return []

    monkeypatch.setattr(books, "CHECK_S", 0.3)
    monkeypatch.setattr(books, "_days", days)
    began = time.monotonic()
    refused = as_alice.post(PATH)

    assert time.monotonic() - began < 10
    assert refused.status_code == 503
    assert refused.json() == {"error": "The database is busy."}
    monkeypatch.undo()
    assert as_alice.post(PATH).status_code == 200  # and no limit stays behind


def test_a_check_without_a_limit_is_as_it_was(some_usage):
    assert books.check(some_usage).difference == 0
    with pytest.raises(OperationalError), books._within(0.2), connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_sleep(5)"
            if connection.vendor == "postgresql"
            else "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n"
            " WHERE x < 10000000) SELECT MAX(x) FROM n"
        )


def test_r29_the_books_are_the_admins_alone(anonymous, as_bob):
    for method in ("GET", "POST"):
        assert anonymous(method, PATH, {}).status_code == 401
        assert as_bob(method, PATH, {}).status_code == 403


def test_w26_looking_costs_the_same_number_of_queries(
    as_alice, some_usage, django_assert_max_num_queries
):
    as_alice.post(PATH)
    with django_assert_max_num_queries(8):
        as_alice.get(PATH)
