"""What this server is and has: version, features, discovery, set-up, health (surface, section 4; R-25, R-29)."""

import re

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from django.urls import resolve

from inference.api import health
from inference.api.server import BUILT, ENDPOINTS
from inference.models import Engine, Model, Operation
from inference.setup_steps import setup_steps
from tests.people import Api

pytestmark = pytest.mark.django_db
VERSION = re.compile(r"v\d+\.\d+\.\d+\S* \(\w+\)")


def test_r25_any_known_caller_reads_the_version_and_nobody_else(as_bob, bob, make_key, anonymous):
    """GET /version: in the contract's format."""
    by_key = Api(key=make_key(bob)[1]).get("/version")

    assert VERSION.fullmatch(as_bob.get("/version").json()["version"])
    assert by_key.json() == as_bob.get("/version").json()
    assert anonymous.get("/version").status_code == 401


def test_r25_any_known_caller_reads_the_metrics_and_nobody_else(as_bob, bob, make_key, anonymous):
    """GET /metrics: Prometheus' text, by a session or a key."""
    scraped = Api(key=make_key(bob)[1]).get("/metrics")

    assert as_bob.get("/metrics").status_code == 200
    assert scraped.status_code == 200
    assert scraped.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"\napi_call_" in scraped.content or b"# TYPE api_call" in scraped.content
    assert anonymous.get("/metrics").status_code == 401


def test_features_are_true_only_for_what_works(as_bob, anonymous):
    """GET /api/features: booleans, so that a page hides what is not built."""
    found = as_bob.get("/api/features").json()

    assert {"agents", "mcp"} <= found.keys()  # S
    assert {"fine_tuning", "quantization", "distributed", "localai_assistant"} <= found.keys()  # H
    assert set(map(type, found.values())) == {bool}
    routes = {"agents": "/api/agents", "mcp": "/v1/mcp/servers/m"}
    for name, path in routes.items():
        is_there = as_bob.get(path).status_code != 404
        assert found[name] == is_there, name
    assert anonymous.get("/api/features").status_code == 401


def test_c04_discovery_is_public_and_every_address_in_it_is_one(anonymous, as_bob):
    """GET /.well-known/localai.json: for programs that look for a server."""
    found = anonymous.get("/.well-known/localai.json")

    body = found.json()
    assert found.status_code == 200
    assert body["endpoints"]["chat_completions"] == "/v1/chat/completions"
    for path in body["endpoints"].values():
        assert resolve(path), path
    flat = {
        name: path for group in body["endpoint_groups"].values() for name, path in group.items()
    }
    assert flat == body["endpoints"]
    assert len(flat) == sum(map(len, ENDPOINTS.values()))  # no name stands for two
    assert body["capabilities"] == BUILT


def test_r25_discovery_tells_the_version_to_known_callers_alone(anonymous, as_bob):
    known = as_bob.get("/.well-known/localai.json").json()
    stranger = anonymous.get("/.well-known/localai.json").json()

    assert known["version"] == as_bob.get("/version").json()["version"]
    assert "version" not in stranger


def test_healthz_is_public_and_empty(anonymous, django_assert_num_queries):
    """GET /healthz: the process answers, whatever the database does."""
    with django_assert_num_queries(0):
        found = anonymous.get("/healthz")

    assert (found.status_code, found.content) == (200, b"")


def test_readyz_says_what_is_pending_and_why_it_is_not_ready(anonymous, monkeypatch):
    """GET /readyz: 503 with a reason that names no path and no SQL."""
    monkeypatch.setattr(health, "background_is_there", lambda: True)
    ready = anonymous.get("/readyz")
    monkeypatch.setattr(health, "background_is_there", lambda: False)
    alone = anonymous.get("/readyz")

    def broken():
        raise DatabaseError("password of /secret/path is wrong")

    monkeypatch.setattr(health.connection, "cursor", broken)
    without = anonymous.get("/readyz")

    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "pending": []})
    assert alone.status_code == 503
    assert alone.json() == {
        "status": "starting",
        "reason": "the background process is not running",
    }
    assert without.status_code == 503
    assert without.json()["reason"] == "the database does not answer"


def test_readyz_tells_strangers_how_far_it_is_and_no_words_of_an_engine(
    anonymous, as_bob, settings, tmp_path, monkeypatch
):
    """GET /readyz: a download's or an engine's last words may have addresses and names in them."""
    monkeypatch.setattr(health, "background_is_there", lambda: True)
    update = {"models": ["smollm2-135m-instruct"], "backends_path": tmp_path}
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update=update)
    Operation.objects.create(
        action=Operation.Action.INSTALL,
        kind="model",
        target="smollm2-135m-instruct",
        state="failed",
        progress=40,
        message="https://mirror.internal said 403",
    )

    known, stranger = (api.get("/readyz").json()["pending"] for api in (as_bob, anonymous))

    assert [step["message"] for step in stranger] == ["", "", ""]
    assert known[1]["message"] == "https://mirror.internal said 403"
    assert [step["state"] for step in stranger] == [step["state"] for step in known]
    assert stranger[1]["progress"] == 40


def test_r29_setup_lists_the_steps_of_a_fresh_server(as_alice, settings, tmp_path):
    """GET /api/setup: what has to be installed and loaded first, and how far that is."""
    name = "smollm2-135m-instruct"
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(
        update={"models": [name], "backends_path": tmp_path}
    )
    kind = {"action": Operation.Action.INSTALL, "asked_by": "alice"}
    Operation.objects.create(kind="model", target=name, state="running", progress=40, **kind)

    before = as_alice.get("/api/setup").json()
    Model.objects.create(name=name, source="", backend="vllm-cpu", directory="/x")
    Engine.objects.create(model_id=name, state="ready")
    after = as_alice.get("/api/setup").json()

    assert before["done"] is False
    assert [step["state"] for step in before["steps"]] == ["waiting", "now", "waiting"]
    assert before["steps"][1]["progress"] == 40
    assert [step["state"] for step in after["steps"][1:]] == ["done", "done"]


def test_r29_setup_reads_no_history_of_other_models(settings, tmp_path):
    """/readyz is public: what it costs does not grow with what was ever installed."""
    update = {"models": ["smollm2-135m-instruct"], "backends_path": tmp_path}
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update=update)
    kind = {"action": Operation.Action.INSTALL, "kind": "model", "state": "failed"}
    for i in range(3):
        Operation.objects.create(target=f"other-{i}", log_tail="secret words", **kind)
    Operation.objects.create(target="smollm2-135m-instruct", message="newest", **kind)

    with CaptureQueriesContext(connection) as asked:
        steps = setup_steps()

    read = [each["sql"] for each in asked if "operation" in each["sql"]]
    assert len(read) == 1
    assert "log_tail" not in read[0]
    with connection.cursor() as cursor:
        cursor.execute(read[0])
        assert len(cursor.fetchall()) == 1
    assert steps[1].message == "newest"


def test_r29_setup_of_a_server_with_nothing_to_do(as_alice, as_bob, anonymous):
    assert as_alice.get("/api/setup").json() == {"done": True, "steps": []}
    assert as_bob.get("/api/setup").status_code == 403
    assert anonymous.get("/api/setup").status_code == 401
