"""R-22, R-30: traces on their way from the journal into tables that do not grow past their bounds."""

import os
import time
from datetime import timedelta

import orjson
import pytest

from accounts import runtime
from usage import retention
from usage.drain import drain, rejected_file
from usage.journal.lines import TRACE
from usage.journal.writer import Journal
from usage.models import EngineTrace, RequestTrace, TraceContent, UsageEvent
from usage.tests.books import id_at, record
from usage.tests.traces import (
    ENGINES,
    LISTS,
    NOW,
    SETTINGS,
    URL,
    content,
    ids,
    numbered,
    traced,
    write,
)
from usage.traces import rows
from usage.traces import settings as trace_settings
from usage.traces.marks import caller

__all__ = ["write"]  # a fixture
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]


def test_set_tracing_max_items_bounds_both_lists_and_the_bodies(as_alice, write):
    """SET:tracing_max_items, at once and in the tables."""
    numbered(write, 30)
    write(*(content(id_at(NOW + timedelta(milliseconds=i)), "x") for i in range(30)))
    assert len(as_alice.get(URL).json()) == 30

    assert as_alice.post(SETTINGS, {"tracing_max_items": 5}).status_code == 200

    for url in LISTS:
        answer = as_alice.get(f"{url}?limit=0")
        assert (ids(answer), answer["X-Total-Count"]) == ([f"c{i}" for i in range(25, 30)], "5")
    write(traced(NOW + timedelta(seconds=1), cid="last"))
    assert ids(as_alice.get(URL)) == ["c26", "c27", "c28", "c29", "last"]
    assert [t.objects.count() for t in (RequestTrace, EngineTrace, TraceContent)] == [5, 5, 5]


def test_set_tracing_max_items_of_0_is_our_own_bound(as_alice, write, monkeypatch):
    monkeypatch.setattr(trace_settings, "HARD_ITEMS", 7)
    as_alice.post(SETTINGS, {"tracing_max_items": 0})
    numbered(write, 20)

    assert len(as_alice.get(f"{URL}?limit=0").json()) == 7
    assert RequestTrace.objects.count() == 7


def test_r30_bodies_have_a_bound_of_bytes_too(write, monkeypatch):
    monkeypatch.setattr(rows, "MAX_CONTENT_BYTES", 1000)
    for i in range(10):
        event_id = id_at(NOW + timedelta(milliseconds=i))
        write(content(event_id, "x" * 30), traced(event_id=event_id))

    drain()

    kept = TraceContent.objects.order_by("kept_us")
    assert sum(each.n_bytes for each in kept) <= 1000
    assert 2 <= len(kept) < 10
    assert str(kept.last().pk) == event_id


def test_set_enable_tracing_is_told_by_the_record(as_alice, write):
    """SET:enable_tracing: a request that came while it was off has no mark in the journal, and no trace."""
    write(record())

    assert as_alice.get(URL).json() == as_alice.get(ENGINES).json() == []
    assert UsageEvent.objects.count() == 1


def test_s19_the_traces_of_a_deleted_person_go(as_alice, bob, write):
    event_id = id_at(NOW)
    mine = {"u": str(bob.pk), "un": "bob"}
    write(content(event_id, "hello", user=str(bob.pk)), traced(event_id=event_id, **mine))
    write(traced(cid="other"))
    assert len(as_alice.get(URL).json()) == 2

    as_alice.delete(f"/api/auth/admin/users/{bob.pk}")
    late = id_at(NOW)
    write(content(late, "hello", user=str(bob.pk)), traced(event_id=late, **mine))

    assert [ids(as_alice.get(url)) for url in LISTS] == [["other"], ["other"]]
    assert TraceContent.objects.count() == 0


def test_s19_what_engines_said_to_a_deleted_person_goes_though_the_requests_were_cleared(
    as_alice, bob, write
):
    """An engine's error may quote the prompt."""
    write(traced(er="not a number: my secret", u=str(bob.pk), un="bob"), traced(cid="other"))
    rows.keep_load(model="m", backend="vllm-cpu", seconds=1)
    as_alice.post(f"{URL}/clear")
    assert len(as_alice.get(ENGINES).json()) == 3

    as_alice.delete(f"/api/auth/admin/users/{bob.pk}")

    left = as_alice.get(ENGINES).json()
    assert [each["correlation_id"] for each in left] == ["other", ""]


def test_traces_are_kept_no_longer_than_events(as_alice, write, settings):
    """LOCALAI_USAGE_RETENTION: a trace has the caller's address, and perhaps the bodies."""
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"usage_retention": "1d"})
    old = NOW - timedelta(hours=25)
    for at, name in ((old, "old"), (NOW, "new")):
        write(content(id_at(at), "x"), traced(event_id=id_at(at), cid=name))
    drain()

    retention.expire(NOW)

    assert [ids(as_alice.get(url)) for url in LISTS] == [["new"], ["new"]]
    assert TraceContent.objects.count() == 1


def test_a_worker_that_died_leaves_a_trace_of_what_it_had_under_way(as_alice, folder):
    journal = Journal(folder)
    fields = record("o") | {"be": "vllm", "ci": "192.0.2.7", "ua": "curl/8"}
    names = {name: value for name, value in fields.items() if name not in {"k", "id", "cid"}}
    journal.open(id_at(NOW).encode(), journal.named(orjson.dumps(names)[1:]), b"cid-9")
    journal._segment.map.close()
    os.close(journal._segment._fd)

    (found,) = as_alice.get(URL).json()

    assert found["response"]["status"] == 500
    assert (found["error"], found["correlation_id"]) == ("the server process ended", "cid-9")


@pytest.mark.parametrize(
    "more",
    [
        {"tm": "x"},
        {"tm": [1]},
        {"tm": [-5] * 9},
        {"tm": [2**62] * 9},
        {"tm": [1e300] * 9},
        {"tm": [0, 1e300, -1e300, 0, 0, 0, 0, 0, 0]},
        {"tm": [None] * 9},
        {"ci": 5},
        {"ua": "a\0b" * 300},
        {"er": "x" * 5000},
    ],
)
def test_a_mark_that_is_none_never_holds_up_usage(as_alice, write, more):
    write(traced(**more), traced(cid="good"))
    write({"k": TRACE, "id": "x", "u": "u1"}, {"k": TRACE, "u": None}, {"k": TRACE})
    write(content(id_at(NOW), "good"))

    assert "good" in ids(as_alice.get(URL))
    assert UsageEvent.objects.count() == 2
    assert TraceContent.objects.count() == 1
    assert not rejected_file().exists()


def test_a_record_that_was_put_aside_says_nothing_of_who_asked_what(write):
    write(traced(p=-1, er="not a number: my secret", ua="an agent", ci="192.0.2.7"))

    drain()

    kept = rejected_file().read_bytes()
    assert b'"p":-1' in kept
    for word in (b"my secret", b"an agent", b"192.0.2.7", b"Bob"):
        assert word not in kept


def test_w06_a_long_forwarded_for_does_not_hide_who_is_believed(as_alice, write, settings):
    proxies = {"trusted_proxies": ["10.0.0.0/8"]}
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update=proxies)
    runtime.trusted_networks.cache_clear()
    try:
        forged = ", ".join(["198.51.100.1"] * 50).encode() + b", 192.0.2.9"
        write(traced(**caller("vllm", "10.0.0.1", forged, b"curl/8")))
        (found,) = as_alice.get(URL).json()
    finally:
        runtime.trusted_networks.cache_clear()

    assert found["client_ip"] == "192.0.2.9"


def test_r30_the_same_journal_read_twice_makes_one_trace(as_alice, write):
    event_id = id_at(NOW)
    write(traced(event_id=event_id), traced(event_id=event_id))

    assert len(as_alice.get(URL).json()) == len(as_alice.get(ENGINES).json()) == 1


def test_get_api_backend_traces_has_the_load_of_a_model(as_alice):
    """GET /api/backend-traces: `model_load`, as the engine process tells it, good or bad."""
    before = time.time()
    rows.keep_load(model="m", backend="vllm-cpu", seconds=12.5)
    rows.keep_load(model="n", backend="vllm-cpu", seconds=3, error="the engine ended: no memory")

    good, bad = as_alice.get(f"{ENGINES}?type=model_load").json()

    assert (good["type"], good["model_name"], good["backend"]) == ("model_load", "m", "vllm-cpu")
    assert (good["status"], good["duration"]) == (200, 12_500_000_000)
    assert good["summary"] == "loaded in 12.50 s"
    assert "error" not in good
    assert (bad["status"], bad["error"]) == (503, "the engine ended: no memory")
    assert as_alice.get(f"{ENGINES}/{bad['id']}").json() == bad
    assert time.time() - before < 5


def test_set_enable_tracing_off_keeps_no_loads(as_alice):
    """SET:enable_tracing."""
    as_alice.post(SETTINGS, {"enable_tracing": False})

    rows.keep_load(model="m", backend="vllm-cpu", seconds=12.5)

    assert as_alice.get(ENGINES).json() == []
