"""W-25: sums that can be made anew, books that balance visibly, single events that may go."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from usage import books, partitions, retention
from usage.buckets import day_of, hour_of, month_of
from usage.drain import drain
from usage.journal.writer import Journal
from usage.models import BooksCheck, Grain, ModelRollup, UsageEvent, UsageRollup
from usage.rebuild import days_with_events
from usage.tests.books import event, id_at, record

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def some_usage(folder):
    """Three days of it, with failures, two models and two people."""
    now = datetime.now(UTC)
    for i in range(40):
        failed = {"n": False, "st": 502, "p": 0, "c": 0} if i % 7 == 0 else {}
        event(now - timedelta(hours=2 * i), m=f"m{i % 2}", u=f"u{i % 3}", d=i, tt=i, **failed)
    return now


def sums():
    rollups = UsageRollup.objects.order_by("grain", "bucket", "series_id").values()
    models = ModelRollup.objects.order_by("grain", "bucket", "model").values()
    return list(rollups), list(models)


def test_the_books_of_honest_use_balance(some_usage):
    assert books.check(some_usage).difference == 0
    assert books.latest().difference == 0


@pytest.mark.parametrize(
    ("model", "grain"),
    [(m, g) for m in (UsageRollup, ModelRollup) for g in (Grain.HOUR, Grain.DAY, Grain.MONTH)],
)
def test_a_sum_that_is_off_by_one_is_found_and_mended(some_usage, model, grain):
    before = sums()
    row = model.objects.filter(grain=grain).order_by("-bucket").first()
    model.objects.filter(pk=row.pk).update(prompt_tokens=row.prompt_tokens + 1)

    found = books.check(some_usage)
    assert found.difference > 0
    with pytest.raises(CommandError, match="differ"):
        call_command("checkbooks", stdout=io.StringIO())
    call_command("rebuildrollups", stdout=io.StringIO())

    assert books.latest().difference == 0
    assert sums() == before


def test_a_missing_event_is_found_in_the_journal_and_in_the_sums(folder):
    journal = Journal(folder)
    lost = record()
    journal.write(lost)
    journal.write(record())
    drain()
    assert books.check(datetime.now(UTC)).difference == 0

    UsageEvent.objects.filter(pk=lost["id"]).delete()
    found = {
        each["what"]: each["difference"]
        for each in books.check(datetime.now(UTC)).report["findings"]
    }

    assert found["journal"] == 1
    assert sum(found.values()) > 1
    journal.close()


def test_rebuilding_makes_exactly_what_was_there_while_events_come_in(some_usage, folder):
    journal = Journal(folder)
    for _ in range(20):
        journal.write(record())
    drain()
    before = sums()
    UsageRollup.objects.all().delete()
    ModelRollup.objects.filter(grain=Grain.DAY).delete()
    journal.write(record())

    out = io.StringIO()
    call_command("rebuildrollups", stdout=out)

    drain()
    assert "differ by 0" in out.getvalue()
    again = sums()
    assert [len(each) for each in again] == [len(each) for each in before]
    totals = [
        sum(row["requests"] for row in part[0] if row["grain"] == 2) for part in (before, again)
    ]
    assert totals[1] == totals[0] + 1
    assert books.check(datetime.now(UTC)).difference == 0
    journal.close()


def test_u11_w25_retention_takes_events_in_small_steps_and_no_totals(
    some_usage, settings, monkeypatch
):
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"usage_retention": "1d"})
    monkeypatch.setattr(retention, "STEP_ROWS", 5)
    before = sums()

    assert retention.expire(some_usage) == 27
    assert retention.expire(some_usage) == 0

    assert UsageEvent.objects.count() == 13
    assert sums() == before
    assert books.check(some_usage).difference == 0
    kept = days_with_events(some_usage)
    assert kept.start == day_of(hour_of(some_usage))
    call_command("rebuildrollups", stdout=io.StringIO())
    assert sums() == before


def test_what_retention_took_is_not_missed_where_a_live_segment_still_has_it(folder, settings):
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"usage_retention": "1d"})
    now, journal = datetime.now(UTC), Journal(folder)
    kept = record(event_id=id_at(now))
    journal.write(record(event_id=id_at(now - timedelta(days=2))))
    journal.write(kept)
    drain()

    assert retention.expire(now) == 1

    assert books.check(now).difference == 0
    UsageEvent.objects.filter(pk=kept["id"]).delete()
    assert books.check(now).report["findings"][-1]["missing"] == 1
    journal.close()


def test_rebuilding_leaves_a_day_alone_that_retention_reaches_meanwhile(some_usage, settings):
    from usage.rebuild import rebuild_day

    day = day_of(hour_of(some_usage - timedelta(days=2)))
    before = sums()
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"usage_retention": "1d"})
    retention.expire(some_usage)

    assert rebuild_day(day) is None
    assert sums() == before


def test_everything_is_kept_where_nothing_is_said(some_usage):
    assert retention.expire(some_usage) == 0
    assert UsageEvent.objects.count() == 40


def test_a_replay_after_retention_counts_nothing_twice(folder, settings):
    """The mark outlives the segment: one that comes back from a backup is not read again."""
    journal = Journal(folder)
    journal.write(record())
    journal.close()
    (path,) = folder.glob("*.journal")
    kept = path.read_bytes()
    drain()
    UsageEvent.objects.all().delete()

    path.write_bytes(kept)
    drain()

    assert UsageEvent.objects.count() == 0
    assert not path.exists()


def test_the_admins_system_page_says_whether_the_books_balance(folder, as_alice, as_bob):
    event(datetime.now(UTC))
    assert b"Not compared yet" in as_alice.get("/app/system").content
    assert as_alice.post("/app/system/check").status_code == 302
    assert b"The books balance" in as_alice.get("/app/system").content
    UsageRollup.objects.filter(grain=Grain.DAY).delete()
    as_alice.post("/app/system/check")

    page = as_alice.get("/app/system").content
    assert b"The books differ by" in page
    assert b"rebuildrollups" in page
    assert as_bob.get("/app/system").status_code == 302


def test_old_checks_go(some_usage):
    BooksCheck.objects.create(at=some_usage - timedelta(days=40), difference=0, report={})
    books.check(some_usage)
    assert BooksCheck.objects.count() == 1


def on_postgresql():
    if connection.vendor != "postgresql":
        pytest.skip(
            "partitions are PostgreSQL's; the whole of usage runs on it in a pass of its own"
        )


def test_on_postgresql_a_month_is_a_partition_and_goes_at_once(folder, settings):
    on_postgresql()
    now = datetime(2026, 6, 15, tzinfo=UTC)
    event(now)
    event(datetime(2026, 2, 1, tzinfo=UTC))
    try:
        partitions.ensure(now)
        this = month_of(day_of(hour_of(now)))
        assert partitions.months() == list(range(this - 1, this + 4))
        partitions.ensure(now)
        partitions.make(this - 4)  # what waited in the catch-all moves over
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {partitions.name_of(this - 4)}")
            assert cursor.fetchone() == (1,)
        settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"usage_retention": "90d"})
        retention.expire(now)
        assert partitions.months()[0] == this - 1
        assert UsageEvent.objects.count() == 1
        event(now)
        assert UsageEvent.objects.count() == 2
    finally:
        for month in partitions.months():
            with connection.cursor() as cursor:
                cursor.execute(f"DROP TABLE {partitions.name_of(month)}")


def test_elsewhere_partitions_are_nobodys_business(folder):
    if connection.vendor == "postgresql":
        pytest.skip("this is what the other databases do")
    partitions.ensure()
    assert partitions.drop_before(datetime.now(UTC)) == []
