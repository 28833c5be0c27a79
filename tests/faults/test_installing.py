"""Installing models on a real server: cancelled at any moment, its process killed, two at once."""

import hashlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psutil
import pytest

from core.tests.hostile_server import Hostile, answer
from tests.postgresql import Cluster
from tests.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
BODY = bytes(range(256)) * 8192  # 2 MiB, in about 4 s
DIGEST = hashlib.sha256(BODY).hexdigest()


def slowly(connection, head):
    """Serves ranges, half a megabyte a second."""
    lines = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    begin = int(lines.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
    rest = BODY[begin:]
    extra = {"content_range": f"bytes {begin}-{len(BODY) - 1}/{len(BODY)}"} if begin else {}
    whole = answer(206 if begin else 200, rest, etag='"one"', **extra)
    connection.sendall(whole[: len(whole) - len(rest)])
    for at in range(0, len(rest), 16384):
        connection.sendall(rest[at : at + 16384])
        time.sleep(0.03)


@pytest.fixture(scope="module")
def source():
    one = Hostile()
    one.serve["/model.bin"] = slowly
    yield one
    one.close()


# What is the database's in it runs on both in inference/tests; the whole on PostgreSQL: make test-full.
DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.full)]


@pytest.fixture(scope="module", params=DATABASES)
def server(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    settings = {
        "LOCALAI_MODELS_PATH": str(folder / "models"),
        "LOCALAI_BACKENDS_PATH": str(folder / "backends"),
        "LOCALAI_FETCH_ALLOW": "127.0.0.1/32",
        "LOCALAI_WEB_WORKERS": "1",
    }
    cluster = None
    if request.param == "postgresql":
        cluster = Cluster(folder / "cluster")
        settings["LOCALAI_AUTH_DATABASE_URL"] = cluster.url("gatehouse")
    one = Server(folder, **settings)
    one.until(lambda: one.processes("runengine"), 30)
    with one.client() as client:  # models alone: vLLM is not what is looked at
        assert client.post("/api/settings", json={"autoload_backend_galleries": False}).is_success
    yield one
    one.stop()
    if cluster is not None:
        cluster.stop()


def ask(server, source, name):
    file = {"filename": "model.bin", "uri": f"{source.url}/model.bin", "sha256": DIGEST}
    with server.client() as client:
        started = client.post("/models/apply", json={"name": name, "files": [file]})
        assert started.status_code == 200, started.text
        return started.json()["uuid"]


def status(server, job):
    with server.client() as client:
        return client.get(f"/models/jobs/{job}").json()


def files_of(server):
    folder = server.folder / "models"
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.mark.alone
def test_a_download_is_cancelled_within_two_seconds_at_any_moment(server, source):
    for i in range(10):
        job = ask(server, source, f"cancelled-{i}")
        time.sleep(0.25 * i)
        asked_at = time.monotonic()
        with server.client() as client:
            assert client.post(f"/api/operations/{job}/cancel").status_code == 200
            assert client.post(f"/api/operations/{job}/cancel").status_code == 400
        server.until(lambda job=job: status(server, job)["processed"], 10)

        took_s = time.monotonic() - asked_at
        assert status(server, job)["cancelled"]
        assert took_s < 2, f"try {i}: {took_s:.1f} s"
        server.until(lambda: files_of(server) == [], 2)
    with server.client() as client:
        assert client.get("/api/operations").json() == {"operations": []}


@pytest.mark.parametrize("victim", ["runengine", "runoperation"])
def test_r16_what_is_killed_goes_on_or_ends_with_an_error(server, source, victim):
    job = ask(server, source, f"killed-{victim}")
    server.until(lambda: status(server, job).get("current_bytes", 0) > 200_000, 30)
    asked_before = len(source.asked)

    for pid in server.processes(victim):
        os.kill(pid, signal.SIGKILL)

    server.until(lambda: status(server, job)["processed"], 60)
    found = status(server, job)
    if victim == "runengine":
        assert found["message"] == "completed", found
        assert "Range: bytes=" in source.asked[asked_before]
        assert f"killed-{victim}/model.bin" in files_of(server)
    else:
        assert found["error"] == "The installer ended unexpectedly."
        server.until(lambda: not [f for f in files_of(server) if victim in f], 5)


def test_r16_a_server_that_is_killed_whole_goes_on_when_it_is_started(server, source):
    job = ask(server, source, "over-a-kill")
    server.until(lambda: status(server, job).get("current_bytes", 0) > 200_000, 30)
    asked_before = len(source.asked)

    tree = [server.process.pid, *server.processes("")]
    for pid in tree:
        with suppress(ProcessLookupError):  # some end with the one above them
            os.kill(pid, signal.SIGKILL)
    server.process.wait(10)
    server.until(lambda: not any(map(psutil.pid_exists, tree)), 10)
    server.start()

    server.until(lambda: status(server, job)["processed"], 60)
    assert status(server, job)["message"] == "completed"
    assert "Range: bytes=" in source.asked[asked_before]
    assert "over-a-kill/model.bin" in files_of(server)


def test_two_admins_at_once_start_one_installation(server, source):
    with ThreadPoolExecutor(8) as pool:
        jobs = set(pool.map(lambda _: ask(server, source, "both"), range(8)))

    assert len(jobs) == 1
    server.until(lambda: status(server, jobs.copy().pop())["processed"], 30)
    assert status(server, jobs.pop())["message"] == "completed"
    assert "both/model.bin" in files_of(server)


def test_a_model_without_its_backend_is_installed_deleted_and_leaves_nothing(server, source):
    with server.client() as client:

        def listed():  # in every worker a moment after the row is there
            found = client.get("/api/models/capabilities").json()["data"]
            return [row["id"] for row in found]

        server.until(lambda: "both" in listed(), 5)
        names = listed()
        for name in names:
            job = client.post(f"/models/delete/{name}").json()["uuid"]
            server.until(lambda job=job: status(server, job)["processed"], 30)
            assert status(server, job)["message"] == "completed"
        server.until(lambda: listed() == [], 5)
    assert files_of(server) == []
