"""From the journal into the database: once, whatever happens in between."""

from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
from django.db import connections

from usage import drain
from usage.journal.lines import FINAL, OPEN, PROGRESS, encode
from usage.journal.segments import read_from, segments
from usage.journal.table import HAS_FIRST_TOKEN, STREAMED, progress
from usage.journal.writer import Journal
from usage.models import JournalMark, UsageEvent, UsageSeries
from usage.tests.books import admit, record

pytestmark = pytest.mark.django_db(transaction=True)
FIRST, SECOND = (f"0190a000-0000-7000-8000-00000000000{n}" for n in (1, 2))


def test_a_live_workers_events_arrive_and_its_segment_stays(folder):
    journal = Journal(folder)
    slot = admit(journal, event_id=FIRST)
    journal.end(slot, orjson.dumps(record(event_id=FIRST)))
    admit(journal)

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
    streamed, _ = admit(journal, event_id=FIRST), admit(journal, event_id=SECOND)
    journal.note(streamed, progress(10, 0, 3, 5, 0, 0, flags=0))
    flags = STREAMED | HAS_FIRST_TOKEN
    journal.note(streamed, progress(10, 2, 4, 1500, 40, 3, flags=flags))
    ended = admit(journal)
    journal.end(ended, orjson.dumps(record()))
    journal.close()

    drain.drain()

    streamed = UsageEvent.objects.get(pk=FIRST)
    silent = UsageEvent.objects.get(pk=SECOND)
    assert (streamed.completion_tokens, streamed.counted, streamed.estimated) == (4, True, True)
    assert (streamed.prompt_tokens, streamed.cached_tokens, streamed.status) == (10, 2, 200)
    assert (streamed.duration_ms, streamed.first_token_ms, streamed.queue_ms) == (1500, 40, 3)
    assert (streamed.streamed, streamed.correlation_id) == (True, "c")
    assert (silent.counted, silent.prompt_tokens, silent.status) == (False, 0, 500)
    assert UsageEvent.objects.count() == 3


def test_what_a_worker_of_the_first_format_left_open_is_billed_too(folder):
    """It wrote lines, and has no table: an update of the server may find its files."""
    folder.mkdir(parents=True)
    lines = [record(OPEN, event_id=FIRST), record(PROGRESS, event_id=FIRST, c=4), record()]
    lines += [record(OPEN, event_id=SECOND), record(event_id=SECOND)]
    (folder / "1-a-000000.journal").write_bytes(b"".join(map(encode, lines)))

    drain.drain()

    assert UsageEvent.objects.get(pk=FIRST).completion_tokens == 4
    assert UsageEvent.objects.filter(estimated=True).count() == 1
    assert UsageEvent.objects.count() == 3


def test_a_table_that_a_power_cut_spoilt_holds_up_nothing(folder):
    """A slot may be of any moment, and what its number stood for may be gone."""
    journal = Journal(folder)
    for _ in range(3):
        admit(journal)
    journal.write(record())
    journal.close()
    (path,) = segments(folder)
    spoilt = bytearray(path.read_bytes())
    spoilt[16:26] = b"\xff" * 10  # the id of the first
    spoilt[16 + 196 + 192] = 99  # the number of the second
    path.write_bytes(spoilt)

    drain.drain()

    assert UsageEvent.objects.count() == 2
    assert len((folder / "rejected").read_bytes().splitlines()) == 2


def test_what_rotation_carried_is_not_settled_too_early(folder):
    journal = Journal(folder, segment_bytes=500)
    slot = admit(journal, event_id=FIRST)
    for _ in range(50):
        journal.write(record())
    assert len(segments(folder)) > 2
    drain.drain()
    assert not UsageEvent.objects.filter(pk=FIRST).exists()

    journal.end(slot, orjson.dumps(record(event_id=FIRST, c=9)))
    journal.close()
    drain.drain()

    assert UsageEvent.objects.get(pk=FIRST).completion_tokens == 9
    assert UsageEvent.objects.count() == 51


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
    dead.note(admit(dead, un="Bob"), progress(666, 0, 1, 0, 0, 0, flags=0))
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
