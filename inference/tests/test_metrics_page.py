"""`GET /metrics`: who may read it, what it says, and that the dashboard asks for nothing else."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from accounts import gate
from core import call_times
from inference.engine_table import EngineTable, Target
from inference.models import Engine, Model
from inference.worker_metrics import WorkerMetrics
from tests.people import Api
from usage import metrics
from usage.drain import journal_folder
from usage.journal.lines import FINAL
from usage.journal.writer import Journal
from usage.tests.test_metrics import row

pytestmark = pytest.mark.django_db(transaction=True)
DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana" / "gatehouse.json"


def scrape(api):
    answer = api.get("/metrics")
    assert answer.status_code == 200, answer.content
    text = answer.content.decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return text, found


def test_any_user_may_read_it_and_nobody_else(as_bob, as_alice, anonymous):
    """C-03: any authenticated user; G-03: with and without a slash."""
    assert anonymous.get("/metrics").status_code == 401
    for api in (as_bob, as_alice, Api(key="legacy-key-one")):
        answer = api.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert api.get("/metrics/").status_code == 200
        assert api.post("/metrics").status_code == 405


def test_where_labels_name_users_only_admins_read_it(as_bob, as_alice, monkeypatch):
    """C-03: `LOCALAI_METRICS_USERS` makes it the admins'."""
    monkeypatch.setattr(gate, "GATE", dict(gate.GATE))
    gate.close_to_admins("metrics")

    assert as_bob.get("/metrics").status_code == 403
    assert as_alice.get("/metrics").status_code == 200
    assert gate.requirement_for("version", "GET") == "user"


def test_calls_are_counted_by_route(as_bob, anonymous):
    name = "api_call_count"

    def count(found, method, path):
        return found.get((name, (("method", method), ("path", path))), 0)

    _, before = scrape(as_bob)
    as_bob.get("/version")
    anonymous.get("/version")  # a refusal is a call of that route
    as_bob.get("/v1/models/nope")
    as_bob.get("/nowhere/1")
    as_bob.get("/nowhere/2")
    as_bob.get("/a//b")
    as_bob.get("/static/mark.svg").close()
    text, after = scrape(as_bob)

    def more(method, path):
        return count(after, method, path) - count(before, method, path)

    assert more("GET", "/version") == 2
    assert more("GET", "/v1/models/<path:model>") == 1
    assert more("GET", call_times.UNKNOWN) == 3
    assert more("GET", "/static/<path>") == 1
    assert 'path="/metrics"' not in text
    assert "nowhere" not in text


def test_it_says_how_journal_engines_and_books_stand(as_bob, monkeypatch):
    Model.objects.create(name="m", source="s", backend="b", directory="d")
    Engine.objects.create(model_id="m", state="failed")
    monkeypatch.setattr(metrics, "_differences", [])
    journal = Journal(journal_folder(), segment_bytes=64 * 1024)
    journal.write({"k": FINAL, "id": "x", "t": 0, "d": 0})
    try:
        text, found = scrape(as_bob)
        metrics.register_books_difference(lambda: 4.0)
        _, later = scrape(as_bob)
    finally:
        journal.close()
        for path in journal_folder().glob("*.journal"):
            path.unlink()

    assert found["gatehouse_engines", (("state", "failed"),)] == 1
    assert found["gatehouse_engines", (("state", "ready"),)] == 0
    assert found["gatehouse_journal_bytes", ()] >= 64 * 1024
    assert found["gatehouse_journal_segments", ()] >= 1
    assert found["gatehouse_journal_oldest_seconds", ()] > 1e9  # written in 1970
    assert found["gatehouse_journal_rejected_bytes", ()] == 0
    assert ("gatehouse_books_difference", ()) not in found
    assert "# TYPE gatehouse_books_difference gauge" in text
    assert later["gatehouse_books_difference", ()] == 4.0


class Desk:
    """An engine at which so many wait; a real one needs a running loop."""

    def __init__(self, waiting):
        self.places = SimpleNamespace(waiting=waiting, resize=lambda _n: None, close=lambda: None)

    def close(self):
        self.places = None


def test_waiting_and_remote_engines_are_named_by_model_never_by_address(as_bob):
    table = EngineTable()
    here, there = "unix:/secret/place.sock", "http://10.9.8.7:8000"
    remote = [Target(name, name, there, "ready", remote=True) for name in ("b", "a")]
    table.replace([Target("local", "local", here, "ready"), *remote])
    table._desks.update({here: Desk(2), there: Desk(5)})
    worker = WorkerMetrics(table)

    worker.publish()
    text, found = scrape(as_bob)
    table.replace([])
    worker.publish()
    _, later = scrape(as_bob)

    assert found["gatehouse_waiting_requests", (("engine", "local"),)] == 2
    assert found["gatehouse_waiting_requests", (("engine", "a"),)] == 5
    assert found["gatehouse_remote_engines", (("state", "ready"),)] == 2
    assert "10.9.8.7" not in text
    assert "place.sock" not in text
    for engine in ("local", "a"):
        assert later["gatehouse_waiting_requests", (("engine", engine),)] == 0
    assert later["gatehouse_remote_engines", (("state", "ready"),)] == 0


def test_no_label_says_who_calls(as_bob, bob, make_key):
    text, _ = scrape(as_bob)
    _, key = make_key(bob)
    text += Api(key=key).get("/metrics").content.decode()

    for word in (bob.email, "bob", str(bob.pk), key[:12], "127.0.0.1"):
        assert word not in text


def expressions():
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            yield target["expr"]
    yield from (v["definition"] for v in dashboard["templating"]["list"] if "definition" in v)


def test_the_dashboard_asks_for_what_is_there(as_bob, monkeypatch):
    """Every name in its queries is that of a sample, and every label it sums by is one of its labels."""
    monkeypatch.setattr(metrics, "_differences", [lambda: 0.0])
    metrics.recorded([row("m", prompt=1, cost=1, estimated=True), row("m", counted=False)])
    metrics.unrecorded("no_usage")
    table = EngineTable()
    table.replace([Target("m", "m", "http://x", "ready", remote=True)])
    table._desks["http://x"] = Desk(0)
    WorkerMetrics(table).publish()
    as_bob.get("/version")
    _, found = scrape(as_bob)
    labels = {}
    for name, pairs in found:
        labels.setdefault(name, {"instance"}).update(key for key, _ in pairs)

    asked = set()
    for expression in expressions():
        names = set(re.findall(r"\b(?:api|localai|gatehouse)_\w+", expression))
        assert names, expression
        asked |= names
        by = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", expression))))
        for name in names:
            assert name in labels, (name, expression)
            assert by <= labels[name], (name, expression)

    families = {name for name in labels if name.startswith(("localai_", "gatehouse_"))}
    assert families <= asked, "a metric of ours that the dashboard does not show"
    assert "api_call_bucket" in asked
