"""How long requests took, and single events as files (W-25)."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest

from usage.tests.books import event

pytestmark = pytest.mark.usefixtures("folder")


def test_w25_latency_is_told_in_percentiles_with_the_errors(as_alice, as_bob, bob):
    now = datetime.now(UTC)
    for i in range(100):
        event(now, u=str(bob.pk), d=10 * (i + 1), tt=i + 1, sse=True)
    for status in (429, 502):
        event(now, u=str(bob.pk), n=False, st=status, p=0, c=0, d=100_000)

    everybodys = as_alice.get("/api/auth/admin/usage/latency?period=day").json()["latency"]
    own = as_bob.get("/api/auth/usage/latency?period=day").json()["latency"]

    for (row,) in (everybodys, own):
        assert row["model"] == "m"
        assert (row["request_count"], row["error_count"]) == (100, 2)
        assert row["statuses"] == {"200": 100, "429": 1, "502": 1}
        assert row["error_rate"] == pytest.approx(2 / 102, abs=1e-6)
        for name, wanted in (("p50", 500), ("p95", 950), ("p99", 990)):
            assert row["duration_ms"][name] == pytest.approx(wanted, rel=0.05)
        assert row["first_token_ms"]["p90"] == pytest.approx(90, rel=0.07)


def test_w25_an_export_holds_every_event_and_no_formula(as_alice, as_bob, bob):
    now = datetime.now(UTC)
    type(bob).objects.filter(pk=bob.pk).update(name="=cmd()")
    for i in range(5):
        event(now + timedelta(milliseconds=i), u=str(bob.pk), p=i)
    event(now, u="u2")

    table = b"".join(as_bob.get("/api/auth/usage/export?period=day").streaming_content).decode()
    lines = b"".join(
        as_alice.get("/api/auth/admin/usage/export?format=jsonl&period=day").streaming_content
    )

    rows = list(csv.DictReader(io.StringIO(table)))
    assert [int(row["prompt_tokens"]) for row in rows] == [0, 1, 2, 3, 4]
    assert {row["user_name"] for row in rows} == {"'=cmd()"}
    assert len([json.loads(line) for line in lines.splitlines()]) == 6
    assert as_bob.get("/api/auth/usage/export?format=xml").status_code == 400


def test_an_export_reads_page_by_page(as_alice, monkeypatch):
    from usage.reports import export

    monkeypatch.setattr(export, "PAGE", 3)
    now = datetime.now(UTC)
    for i in range(7):
        event(now + timedelta(milliseconds=i))

    parts = list(as_alice.get("/api/auth/admin/usage/export?format=jsonl").streaming_content)

    assert [len(part.splitlines()) for part in parts] == [3, 3, 1]
