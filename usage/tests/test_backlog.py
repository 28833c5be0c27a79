"""What waits in the journal: how much, how long, and what lies aside."""

import time
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from core.call import Call
from core.principal import Principal
from usage.backlog import backlog
from usage.journal.lines import FINAL
from usage.journal.segments import read_from, segments
from usage.journal.writer import Journal
from usage.metering import Meter
from usage.tests.books import admit, id_at
from usage.traces.terms import TraceTerms


@pytest.fixture
def journal(tmp_path):
    made = Journal(tmp_path, segment_bytes=64 * 1024)
    yield made
    made.close()


def final(event_id, began_s_ago, took_ms):
    return {"k": FINAL, "id": event_id, "t": time.time() - began_s_ago, "d": took_ms}


def test_an_empty_journal_waits_for_nothing(tmp_path):
    assert backlog(tmp_path, {}) == (0, 0, 0.0, 0)
    assert backlog(tmp_path / "not there", {}) == (0, 0, 0.0, 0)


def test_age_is_since_the_record_was_written_not_since_its_request_began(tmp_path, journal):
    slot = admit(journal, event_id=id_at(datetime.now(UTC) - timedelta(seconds=500)))
    assert backlog(tmp_path, {}).oldest_s == 0  # under way is not waiting

    journal.end(slot, orjson.dumps(final("a", began_s_ago=500, took_ms=440_000)))
    found = backlog(tmp_path, {})

    assert 59 < found.oldest_s < 62
    assert (found.n_bytes, found.n_segments) == (64 * 1024, 1)


def test_what_was_drained_does_not_count(tmp_path, journal):
    journal.write(final("a", began_s_ago=500, took_ms=0))
    (path,) = segments(tmp_path)
    _, drained = read_from(path, 0, limit=9)
    journal.write(final("b", began_s_ago=20, took_ms=0))

    assert 499 < backlog(tmp_path, {}).oldest_s < 502
    assert 19 < backlog(tmp_path, {path.name: drained}).oldest_s < 22


def test_what_a_dead_worker_left_open_waits_too(tmp_path):
    dead = Journal(tmp_path)
    dead.write(final("b", began_s_ago=10, took_ms=0))
    admit(dead, event_id=id_at(datetime.now(UTC) - timedelta(seconds=100)))
    dead._segment.close()  # its lock goes as with a kill

    assert 99 < backlog(tmp_path, {}).oldest_s < 102


def test_what_was_set_aside_is_told(tmp_path):
    (tmp_path / "rejected").write_bytes(b"x" * 77)

    assert backlog(tmp_path, {}).rejected_bytes == 77


def test_a_request_with_a_trace_waits_as_any_other(tmp_path, journal):
    call = Call(method="POST", path="/", query=b"", headers={}, receive=None, client="")
    call.principal = Principal("u", "n", "e", "user", "web")
    meter = Meter(journal)
    meter.traces = TraceTerms()
    meter.admit(call, endpoint="e", model="m", served_model="m").settle(200)

    assert 0 <= backlog(tmp_path, {}).oldest_s < 5
