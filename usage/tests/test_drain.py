"""From the journal into the database: once, whatever happens in between."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from usage import drain
from usage.journal import FINAL, OPEN, PROGRESS, Journal, encode, read_from, segments
from usage.models import JournalMark, UsageEvent, UsageSeries
from usage.tests.books import record

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_live_workers_events_arrive_and_its_segment_stays(folder):
    journal = Journal(folder)
    journal.write(record(OPEN, event_id="0190a000-0000-7000-8000-000000000001"))
    journal.write(record(event_id="0190a000-0000-7000-8000-000000000001"))
    journal.write(record(OPEN))

    drain.drain()
    drain.drain()

    assert UsageEvent.objects.count() == 1
    assert len(segments(folder)) == 1
    assert JournalMark.objects.get().offset == read_from(segments(folder)[0], 0, limit=9)[1]
    journal.close()


def test_the_same_id_counts_once_over_segments_and_repeats(folder):
    same = record()
    for _ in range(3):
        journal = Journal(folder)
        journal.write(same)
        journal.write(same)
        journal.close()

    drain.drain()

    assert UsageEvent.objects.count() == 1
    assert segments(folder) == []
    assert JournalMark.objects.filter(done_at=None).count() == 0


def test_a_dead_workers_open_requests_are_billed_by_their_last_progress(folder):
    journal = Journal(folder)
    journal.write(record(OPEN, event_id="0190a000-0000-7000-8000-000000000001"))
    journal.write(record(PROGRESS, event_id="0190a000-0000-7000-8000-000000000001", p=10, c=3))
    journal.write(record(PROGRESS, event_id="0190a000-0000-7000-8000-000000000001", p=10, c=4))
    journal.write(record(OPEN, event_id="0190a000-0000-7000-8000-000000000002"))
    journal.close()

    drain.drain()

    streamed = UsageEvent.objects.get(pk="0190a000-0000-7000-8000-000000000001")
    silent = UsageEvent.objects.get(pk="0190a000-0000-7000-8000-000000000002")
    assert (streamed.completion_tokens, streamed.counted, streamed.estimated) == (4, True, True)
    assert (silent.counted, silent.prompt_tokens) == (False, 0)


def test_what_rotation_carried_is_not_settled_too_early(folder):
    journal = Journal(folder, segment_bytes=500)
    journal.write(record(OPEN, event_id="0190a000-0000-7000-8000-000000000001"))
    for _ in range(5):
        journal.write(record())
    drain.drain()
    assert not UsageEvent.objects.filter(pk="0190a000-0000-7000-8000-000000000001").exists()

    journal.write(record(event_id="0190a000-0000-7000-8000-000000000001", c=9))
    journal.close()
    drain.drain()

    assert UsageEvent.objects.get(pk="0190a000-0000-7000-8000-000000000001").completion_tokens == 9
    assert UsageEvent.objects.count() == 6


def test_w31_the_latest_name_stays_whichever_key_came_last(folder):
    journal = Journal(folder)
    journal.write(record(ki="k1", un="Bob"))
    journal.write(record(ki="k2", un="Bob"))
    journal.write(record(ki="k1", un="Robert"))

    drain.drain()

    assert set(UsageSeries.objects.values_list("user_name", flat=True)) == {"Robert"}
    journal.close()


def test_w13_one_bad_row_does_not_hold_up_the_others(folder):
    journal = Journal(folder)
    journal.write(record())
    journal.write(record(event_id="not a uuid"))
    journal.write(record(p=-5))
    journal.write({"k": FINAL, "id": "missing everything"})
    journal.write(record())
    journal.close()

    drain.drain()

    assert UsageEvent.objects.count() == 2
    assert len((folder / "rejected").read_bytes().splitlines()) == 3


def test_unreadable_lines_are_skipped(folder):
    folder.mkdir(parents=True)
    (folder / "1-a-000000.journal").write_bytes(encode(record()) + b"rubbish\n" + encode(record()))

    drain.drain()

    assert UsageEvent.objects.count() == 2


def test_a_row_of_a_dead_worker_that_the_database_refuses_holds_up_nothing(folder, monkeypatch):
    from usage import ledger

    dead, alive = Journal(folder), Journal(folder)
    dead.write(record(OPEN, event_id="0190a000-0000-7000-8000-000000000001"))
    dead.write(record(PROGRESS, event_id="0190a000-0000-7000-8000-000000000001", p=666, un="Bob"))
    dead.close()
    alive.write(record())
    real = ledger._cost

    def overflowing(row, tariff):
        return 2**70 if row.prompt_tokens == 666 else real(row, tariff)

    monkeypatch.setattr(ledger, "_cost", overflowing)
    drain.drain()
    drain.drain()

    assert UsageEvent.objects.count() == 1
    assert len(segments(folder)) == 1
    rejected = (folder / "rejected").read_bytes()
    assert b"666" in rejected
    assert b"Bob" not in rejected
    alive.close()


def test_a_report_does_not_wait_for_a_drain_that_has_much_to_do(folder, monkeypatch):
    import time

    from core.files import exclusive
    from usage.reports import freshness

    folder.mkdir(parents=True)
    monkeypatch.setattr(freshness, "LIMIT_S", 0.2)
    with exclusive(folder / ".drain.lock"):
        began = time.monotonic()
        freshness.bring_in()

    assert time.monotonic() - began < 2


def test_w31_a_new_name_reaches_old_rows_also_of_other_models(folder, as_alice, bob):
    journal = Journal(folder)
    journal.write(record(u=str(bob.pk), un="bob", m="a"))
    drain.drain()
    bob.name = "Robert"
    bob.save()
    journal.write(record(u=str(bob.pk), un="Robert", m="b"))
    journal.write(record(u=str(bob.pk), un="bob", m="a"))  # a worker that has not heard of it yet
    drain.drain()

    assert set(UsageSeries.objects.values_list("model", "user_name")) == {
        ("a", "Robert"),
        ("b", "Robert"),
    }
    journal.close()


def test_s13_a_report_says_up_to_when_it_is_complete(folder, monkeypatch):
    """As soon as an answer has ended it is there; where too much waits, the report says until when."""
    from datetime import UTC, datetime, timedelta

    from usage.reports import freshness
    from usage.tests.books import id_at

    now = datetime.now(UTC)
    journal = Journal(folder)
    journal.write(record(event_id=id_at(now - timedelta(minutes=8)), d=0))
    journal.write(record())
    monkeypatch.setattr(freshness, "LIMIT_S", 0.0)
    behind = freshness.bring_in()
    monkeypatch.undo()

    assert (now - behind).total_seconds() == pytest.approx(480, abs=2)
    assert (freshness.bring_in() - now).total_seconds() < 2
    assert UsageEvent.objects.count() == 2
    journal.close()


def test_u02_events_outlive_user_key_and_model_under_their_names(folder, as_alice, bob, make_key):
    """No foreign keys: a key that is revoked, a user who goes, a model that is removed change no total."""
    from usage.models import UsageRollup

    key, _ = make_key(bob, name="ci-runner")
    journal = Journal(folder)
    journal.write(record(u=str(bob.pk), un="bob", ki=str(key.pk), kn=key.name, m="gone-model"))
    drain.drain()
    key.delete()

    (item,) = as_alice.get("/api/auth/admin/usage/sources?period=day").json()["totals"]["by_key"]
    assert (item["api_key_name"], item["user_name"], item["tokens"]) == ("ci-runner", "bob", 15)
    relations = [f for m in (UsageEvent, UsageRollup, UsageSeries) for f in m._meta.fields]
    assert not any(field.is_relation for field in relations)
    journal.close()


def test_a_spoilt_line_of_a_live_worker_does_not_hold_up_what_follows(folder):
    journal = Journal(folder)
    for _ in range(3):
        journal.write(record())
    (path,) = segments(folder)
    with path.open("r+b") as file:
        file.seek(len(path.read_bytes().split(b"\n")[0]) + 20)
        file.write(b"?")

    drain.drain()

    assert UsageEvent.objects.count() == 1
    drain.drain()
    drain.drain()
    assert UsageEvent.objects.count() == 2
    journal.close()


def test_u10_several_drains_at_once_count_each_event_once(folder):
    journals = [Journal(folder) for _ in range(3)]
    for journal in journals:
        for _ in range(200):
            journal.write(record())

    def one(_):
        try:
            drain.drain()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(8)))

    assert UsageEvent.objects.count() == 600
    for journal in journals:
        journal.close()


def test_s19_a_deleted_users_usage_is_nobodys_also_what_was_still_in_the_journal(
    folder, as_alice, bob
):
    """E-21: totals stay, names go; W-25."""
    journal = Journal(folder)
    named = {"u": str(bob.pk), "un": bob.email, "ki": "k", "kn": "my key"}
    journal.write({**record(), **named})
    drain.drain()
    journal.write({**record(), **named})

    assert as_alice.delete(f"/api/auth/admin/users/{bob.pk}").status_code == 200
    drain.drain()

    rows = set(UsageSeries.objects.values_list("user_id", "user_name", "api_key_name"))
    assert rows == {("deleted", "Deleted user", None)}
    assert UsageEvent.objects.count() == 2
    report = as_alice.get("/api/auth/admin/usage?period=day").json()
    assert [row["user_id"] for row in report["usage"]] == ["deleted"]
    assert report["totals"]["request_count"] == 2
    journal.close()
