"""What was used, as counters: by served model and endpoint, never by who, unless asked for."""

import time
from decimal import Decimal

import pytest

from accounts.runtime import env
from core import metric_files
from usage import metrics
from usage.metrics import Counters, Recorded, recorded, unrecorded

CHAT = "/v1/chat/completions"


def row(served, **changes):
    fields = {
        "model": "callers-own-word",
        "served_model": served,
        "endpoint": CHAT,
        "user_name": "bob@example.org",
        "counted": True,
        "estimated": False,
        "prompt": 0,
        "cached": 0,
        "completion": 0,
        "cost": 0,
    }
    return Recorded(**{**fields, **changes})


def value(name, **labels):
    """The sum over processes of one sample, 0 where it was never counted."""
    for family in metric_files.collect(env().data_path / "metrics"):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return 0


def test_u09_a_batch_is_counted_by_kind_and_by_outcome():
    recorded(
        [
            row("m1", prompt=10, cached=4, completion=5, cost=Decimal("0.25")),
            row("m1", prompt=1, completion=2, cost=0.5, estimated=True),
            row("m1", counted=False),
        ]
    )

    assert value("localai_tokens_total", served_model="m1", kind="prompt") == 11
    assert value("localai_tokens_total", served_model="m1", kind="cached") == 4
    assert value("localai_tokens_total", served_model="m1", kind="completion") == 7
    assert value("localai_billed_requests_total", served_model="m1", endpoint=CHAT) == 2
    assert value("localai_failed_requests_total", served_model="m1", endpoint=CHAT) == 1
    assert value("localai_estimated_requests_total", served_model="m1") == 1
    assert value("localai_cost_total", served_model="m1") == pytest.approx(0.75)


def test_no_word_of_a_caller_becomes_a_label():
    for path in ("/v1/engines/evil/chat/completions", "/v1/engines/a/b/chat/completions"):
        recorded([row("m2", endpoint=path)])

    endpoint = "/v1/engines/<path:model>/chat/completions"
    assert value("localai_billed_requests_total", served_model="m2", endpoint=endpoint) == 2
    assert metrics.endpoint_label("/engines/x/embeddings") == "/engines/<path:model>/embeddings"
    text = str(metric_files.collect(env().data_path / "metrics"))
    for word in ("bob@example.org", "callers-own-word", "evil"):
        assert word not in text


def test_a_user_is_a_label_where_the_setting_is_on(monkeypatch):
    monkeypatch.setattr(metrics, "counters", lambda: with_users)
    with_users = Counters(with_users=True)
    names = [counter._labelnames for counter in with_users.all()]
    kept = {}
    for name in ("tokens", "billed", "failed", "estimated", "cost"):
        kept[name] = Kept()
        monkeypatch.setattr(with_users, name, kept[name])  # the shared file keeps no names of ours

    recorded([row("m", prompt=3, estimated=True, cost=1), row("m", counted=False)])

    assert all(labels[-1] == "user" for labels in names[:-1])
    assert kept["tokens"].counted == {("m", "prompt", "bob@example.org"): 3}
    assert kept["billed"].counted == {("m", CHAT, "bob@example.org"): 1}
    assert kept["failed"].counted == {("m", CHAT, "bob@example.org"): 1}
    assert kept["estimated"].counted == {("m", "bob@example.org"): 1}
    assert kept["cost"].counted == {("m", "bob@example.org"): 1.0}


class Kept:
    """A counter that keeps its counts to itself."""

    def __init__(self):
        self.counted = {}

    def labels(self, *labels):
        self.now = labels
        return self

    def inc(self, amount):
        self.counted[self.now] = self.counted.get(self.now, 0) + amount


def test_answers_without_usage_are_counted_by_reason():
    """S-04, S-53: what is not in the books is counted beside them."""
    before = {r: value("localai_usage_unrecorded_total", reason=r) for r in ("no_usage",)}

    unrecorded("no_usage")
    unrecorded("journal_full")

    assert value("localai_usage_unrecorded_total", reason="no_usage") == before["no_usage"] + 1
    assert value("localai_usage_unrecorded_total", reason="journal_full") >= 1


def test_a_batch_of_5000_costs_little():
    rows = [row(f"m{i % 3}", prompt=i, completion=1, cost=0.1) for i in range(5000)]
    recorded(rows[:3])

    began = time.process_time()
    recorded(rows)

    assert time.process_time() - began < 0.25  # 10 ms by itself; a write a row would be 0.1 s more


def test_a_full_disk_does_not_stop_the_drain(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(metrics.counters().billed), "labels", full)

    recorded([row("m")])
    unrecorded("no_usage")


def test_the_difference_of_the_books_is_whoevers_registered_last(monkeypatch):
    monkeypatch.setattr(metrics, "_differences", [])
    assert metrics.books_difference() is None

    metrics.register_books_difference(lambda: 2.0)
    metrics.register_books_difference(lambda: 3.0)

    assert metrics.books_difference() == 3.0
