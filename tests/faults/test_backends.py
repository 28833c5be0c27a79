"""Backends on a real server: installed, killed, cancelled, upgraded while a stream runs, deleted."""

import hashlib
import json
import os
import signal
import threading
import time

import pytest

from tests.postgresql import Cluster
from tests.servers import Server
from tests.stub_backend import Index, recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
BODY = b"weights"
FILE = {"filename": "model.bin", "sha256": hashlib.sha256(BODY).hexdigest()}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


class Recipes:
    """The file of recipes that a server lets in: one address, and a sha256 for each of its versions."""

    def __init__(self, index):
        self.index = index
        self.texts = {each: recipe(each) for each in ("1.0", "2.0", "3.0", "9.9")}
        self.uri = f"{index.url}/recipes.yaml"
        digests = [hashlib.sha256(text.encode()).hexdigest() for text in self.texts.values()]
        self.let_in = ",".join(f"{self.uri}#{digest}" for digest in digests)

    def offer(self, version):
        self.index.offer("/recipes.yaml", self.texts[version])


@pytest.fixture(scope="module")
def recipes():
    index = Index("1.0", "2.0", "9.9", slow=("3.0",))
    index.serve["/model.bin"] = lambda connection, _head: connection.sendall(
        b"HTTP/1.1 200 x\r\ncontent-length: 7\r\n\r\n" + BODY
    )
    yield Recipes(index)
    index.close()


# What is the database's in it runs on both in inference/tests; the whole on PostgreSQL: make test-full.
DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.full)]


@pytest.fixture(scope="module", params=DATABASES)
def server(request, tmp_path_factory, recipes):
    folder = tmp_path_factory.mktemp(request.param)
    recipes.offer("1.0")
    settings = {
        "LOCALAI_MODELS_PATH": str(folder / "models"),
        "LOCALAI_BACKENDS_PATH": str(folder / "backends"),
        "LOCALAI_FETCH_ALLOW": "127.0.0.1/32",
        "LOCALAI_WEB_WORKERS": "1",
        "LOCALAI_BACKEND_GALLERIES": json.dumps([{"name": "own", "url": recipes.uri}]),
        "LOCALAI_EXTERNAL_BACKENDS": recipes.let_in,
        **recipes.index.for_pip,
    }
    cluster = None
    if request.param == "postgresql":
        cluster = Cluster(folder / "cluster")
        settings["LOCALAI_AUTH_DATABASE_URL"] = cluster.url("gatehouse")
    one = Server(folder, **settings)
    one.until(lambda: one.processes("runengine"), 30)
    yield one
    one.stop()
    if cluster is not None:
        cluster.stop()


def post(server, path, body=None):
    with server.client() as client:
        answer = client.post(path, json=body or {})
    assert answer.status_code == 200, answer.text
    return answer.json()


def get(server, path):
    with server.client() as client:
        return client.get(path).json()


def status(server, job):
    return get(server, f"/backends/jobs/{job}")


def finished(server, job, timeout_s=120):
    server.until(lambda: status(server, job)["processed"], timeout_s)
    return status(server, job)


def engine(server):
    (found,) = get(server, "/api/engines")["engines"]
    return found


def chat(server):
    with server.client() as client:
        return client.post("/v1/chat/completions", json=CHAT)


def environments(server):
    found = (server.folder / "backends").glob("[a-z]*/*")
    return sorted(path.name for path in found if path.is_dir())


def offer(server, recipes, version):
    recipes.offer(version)
    return post(server, "/api/backends/upgrades/check")


def test_a_model_brings_its_backend_and_is_served_by_it(server, recipes):
    """SET:autoload_backend_galleries, POST /backends/apply: from nothing to an answer."""
    files = [{**FILE, "uri": f"{recipes.index.url}/model.bin"}]
    described = {"name": "m", "files": files, "backend": "stub"}
    overrides = {"overrides": {"capabilities": ["chat"]}}
    job = post(server, "/models/apply", {**described, **overrides})["uuid"]
    assert finished(server, job)["message"] == "completed"

    server.until(lambda: chat(server).status_code == 200, 90)

    (row,) = get(server, "/backends")
    assert (row["Name"], row["Metadata"]["version"]) == ("stub", "1.0")
    texts = [line["text"] for line in get(server, "/api/backend-logs/m")]
    assert "this is version 1.0" in texts
    with server.client() as client:
        refused = client.post("/api/backends/system/delete/stub")
    assert refused.status_code == 409
    assert refused.json()["error"] == "stub is in use: stop these models first: m"


def test_r33_an_upgrade_drops_no_request_and_no_stream(server, recipes):
    """Callers come all the time, one stream runs through it; the old version goes when it is over."""
    assert set(offer(server, recipes, "2.0")) == {"stub"}
    before = engine(server)
    pids = server.processes("gatehouse_stub")
    got, statuses, over = [], [], threading.Event()

    def stream():
        body = {**CHAT, "stream": True, "stub": {"tokens": 100, "tick": 0.3}}
        with (
            server.client() as client,
            client.stream("POST", "/v1/chat/completions", json=body) as answer,
        ):
            got.extend(answer.iter_lines())

    def ask():
        while not over.is_set():
            statuses.append(chat(server).status_code)
            time.sleep(0.02)

    threads = [threading.Thread(target=each) for each in (stream, ask, ask)]
    for each in threads:
        each.start()
    try:
        job = post(server, "/api/backends/upgrade/stub")["jobID"]
        assert finished(server, job)["message"] == "completed"
        texts = lambda: [line["text"] for line in get(server, "/api/backend-logs/m")]  # noqa: E731
        server.until(lambda: "this is version 2.0" in texts(), 30)
        server.until(lambda: engine(server)["started_at"] != before["started_at"], 30)
        time.sleep(1)
        assert "data: [DONE]" not in got, "the stream was to be longer than the upgrade"
        assert set(pids) <= set(server.processes("gatehouse_stub"))
    finally:
        over.set()
        for each in threads:
            each.join(60)
    assert set(statuses) == {200}
    assert got[-2:] == ["data: [DONE]", ""] or "data: [DONE]" in got
    assert len([line for line in got if '"content"' in line]) >= 100
    server.until(lambda: not set(pids) & set(server.processes("gatehouse_stub")), 20)
    assert engine(server)["state"] == "ready"
    assert get(server, "/backends")[0]["Metadata"]["version"] == "2.0"
    server.until(lambda: len(environments(server)) == 1, 20)  # the old one is removed by itself
    assert chat(server).status_code == 200


def test_r33_a_version_that_does_not_start_is_said_and_the_one_before_serves_on(server, recipes):
    offer(server, recipes, "9.9")
    job = post(server, "/api/backends/upgrade/stub")["jobID"]
    assert finished(server, job)["message"] == "completed"

    server.until(lambda: "does not start" in engine(server)["message"], 30)
    assert chat(server).status_code == 200
    assert get(server, "/backends")[0]["Metadata"]["version"] == "2.0"  # it counts again
    assert get(server, "/api/backends/upgrades")["stub"]["available_version"] == "9.9"


@pytest.mark.alone
def test_a_cancelled_installation_ends_within_two_seconds_and_leaves_nothing(server, recipes):
    """POST /api/operations/:jobID/cancel of a backend: at several moments of it."""
    if not get(server, "/backends"):  # it runs by itself in `make test`
        offer(server, recipes, "2.0")
        job = post(server, "/api/backends/install/own@stub")["jobID"]
        assert finished(server, job)["message"] == "completed"
    offer(server, recipes, "3.0")
    before = environments(server)
    for i in range(4):
        job = post(server, "/api/backends/upgrade/stub")["jobID"]
        time.sleep(0.1 + 1.5 * i)
        asked_at = time.monotonic()
        post(server, f"/api/operations/{job}/cancel")
        found = finished(server, job, 10)

        assert found["cancelled"], found
        assert time.monotonic() - asked_at < 2
        server.until(lambda: set(environments(server)) <= set(before), 5)
    assert get(server, "/backends")[0]["Metadata"]["version"] == "2.0"
    assert not server.processes("pip")


@pytest.mark.parametrize("victim", ["runengine", "runoperation"])
def test_r16_a_killed_installation_goes_on_or_leaves_nothing(server, recipes, victim):
    offer(server, recipes, "3.0")
    before = environments(server)
    job = post(server, "/api/backends/upgrade/stub")["jobID"]
    server.until(lambda: set(environments(server)) - set(before), 30)
    time.sleep(1)

    for pid in server.processes(victim):
        os.kill(pid, signal.SIGKILL)

    if victim == "runoperation":
        assert finished(server, job)["error"] == "The installer ended unexpectedly."
        server.until(lambda: set(environments(server)) <= set(before), 10)
        assert get(server, "/backends")[0]["Metadata"]["version"] == "2.0"
        return
    server.until(lambda: server.processes("runengine"), 30)
    assert get(server, "/backends")[0]["Metadata"]["version"] == "2.0"  # never half of it
    server.until(lambda: chat(server).status_code == 200, 60)
    assert not status(server, job)["processed"]
    post(server, f"/api/operations/{job}/cancel")
    assert finished(server, job, 10)["cancelled"]
    server.until(lambda: set(environments(server)) <= set(before), 10)


def test_r05_a_deleted_backend_leaves_nothing_and_its_model_says_what_it_misses(server, recipes):
    """POST /api/backends/system/delete/:name, and the 503 of R-05."""
    post(server, "/backend/shutdown", {"model": "m"})
    assert post(server, "/api/backends/system/delete/stub")["success"] is True

    assert get(server, "/backends") == []
    assert environments(server) == []

    def answer():
        found = chat(server)
        return found if "its backend stub is not installed" in found.text else None

    assert server.until(answer, 10).status_code == 503

    offer(server, recipes, "1.0")
    job = post(server, "/api/backends/install/own@stub")["jobID"]
    assert finished(server, job)["message"] == "completed"
    server.until(lambda: chat(server).status_code == 200, 60)
    post(server, "/backend/shutdown", {"model": "m"})
    job = post(server, "/backends/delete/stub")["id"]
    assert finished(server, job)["message"] == "completed"
    assert environments(server) == []
