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


def test_one_bad_row_does_not_hold_up_the_others(folder):
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


def test_several_drains_at_once_count_each_event_once(folder):
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
