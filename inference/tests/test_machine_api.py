"""What admins see of the machine and ask of its engines, where no engine runs."""

from types import SimpleNamespace

import pytest
from django.utils import timezone

from inference import engine_requests, machine
from inference.engine_rows import local_targets
from inference.log_files import LogWriter, log_folder
from inference.machine import Processors, disks
from inference.models import Engine, EngineState, Model
from inference.sockets import read_metrics

pytestmark = pytest.mark.django_db


@pytest.fixture
def data_path(settings, tmp_path):
    paths = {name: tmp_path / name for name in ("data_path", "models_path", "backends_path")}
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update=paths)
    return paths["data_path"]


@pytest.fixture
def model(data_path):
    return Model.objects.create(name="org/m", source="", backend="fake", directory="/x")


ROUTES = [
    ("GET", "/api/backend-logs"),
    ("GET", "/api/backend-logs/m"),
    ("POST", "/api/backend-logs/m/clear"),
    ("GET", "/ws/backend-logs/m"),
    ("GET", "/api/resources"),
    ("GET", "/api/engines"),
    ("GET", "/system"),
    ("GET", "/backend/monitor?model=m"),
    ("POST", "/backend/shutdown"),
    ("POST", "/backend/load"),
    ("GET", "/v1/backend/monitor?model=m"),
    ("POST", "/v1/backend/shutdown"),
    ("POST", "/v1/backend/load"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_r13_r14_the_machine_is_the_admins_alone(method, path, anonymous, as_bob, data_path):
    body = {} if method == "POST" else None

    assert anonymous(method, path, body).status_code == 401
    refused = as_bob(method, path, body)
    assert refused.status_code == 403
    assert refused.json()["error"]["message"] == "Admin access required"


# --- logs ---------------------------------------------------------------------------------------


def test_r13_logs_are_listed_read_and_cleared(as_alice, data_path):
    """GET /api/backend-logs, GET /api/backend-logs/:modelId, POST /api/backend-logs/:modelId/clear."""
    for name in ("org/m", "a"):
        writer = LogWriter(log_folder(data_path, name), name)
        writer.write([("2026-11-26T01:02:03.000004Z", "stderr", f"from {name}")] * 3)

    assert as_alice.get("/api/backend-logs").json() == ["a", "org/m"]
    line = {"timestamp": "2026-11-26T01:02:03.000004Z", "stream": "stderr", "text": "from org/m"}
    for spelt in ("org/m", "org%2Fm"):
        assert as_alice.get(f"/api/backend-logs/{spelt}").json() == [
            {**line, "seq": seq} for seq in (1, 2, 3)
        ]
    assert [x["seq"] for x in as_alice.get("/api/backend-logs/a?after=2").json()] == [3]

    assert as_alice.post("/api/backend-logs/org/m/clear").status_code == 204
    assert as_alice.get("/api/backend-logs/org/m").json() == []
    assert len(as_alice.get("/api/backend-logs/a").json()) == 3


def test_r13_the_log_of_an_unknown_model_is_empty(as_alice, data_path):
    assert as_alice.get("/api/backend-logs/nobody").json() == []
    assert as_alice.post("/api/backend-logs/nobody/clear").status_code == 204
    assert as_alice.get("/api/backend-logs").json() == []


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "9" * 30, "%00"])
def test_r27_a_wrong_number_is_a_400(as_alice, data_path, after):
    answer = as_alice.get(f"/api/backend-logs/m?after={after}")

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("name", ["..", "../x", "..%2f..%2fsecrets", "a//b", "%2e%2e/x"])
def test_no_name_leads_out_of_the_logs(as_alice, data_path, name):
    answer = as_alice.get(f"/api/backend-logs/{name}")

    assert answer.status_code == 400 or answer.json() == []


def test_a_socket_that_is_asked_as_a_page_says_what_it_is(as_alice, data_path):
    answer = as_alice.get("/ws/backend-logs/m")

    assert answer.status_code == 426
    assert answer.headers["upgrade"] == "websocket"


# --- resources ----------------------------------------------------------------------------------


def test_r29_resources_tell_memory_processors_and_disks(as_alice, data_path):
    """GET /api/resources: of this machine."""
    models = data_path.parent / "models_path"
    models.mkdir()
    (models / "weights").write_bytes(b"x" * 1234)

    found = as_alice.get("/api/resources").json()

    assert found["type"] == "ram"
    assert "gpus" not in found
    assert found["available"] is True
    assert set(found["ram"]) == {"total", "used", "free", "available", "usage_percent"}
    assert found["aggregate"]["total_memory"] == found["ram"]["total"] > 0
    assert found["aggregate"]["gpu_count"] == 0
    assert 0 < found["aggregate"]["usage_percent"] <= 100
    assert found["storage_size"] == 1234
    assert found["cpu"]["count"] >= 1
    assert len(found["cpu"]["load"]) == 3
    (disk,) = found["disks"]
    assert disk["holds"] == ["data", "models", "backends"]
    assert disk["total"] >= disk["free"] > 0
    assert (found["reclaimer_enabled"], found["watchdog_interval"]) == (False, "2s")
    assert str(data_path) not in str(found)


def two_cards():
    """NVML of two cards, one of which fell off its bus."""

    class NVMLError(Exception):
        pass

    def handle(index):
        if index == 1:
            raise NVMLError
        return index

    processes = [
        SimpleNamespace(pid=7, usedGpuMemory=200),
        SimpleNamespace(pid=8, usedGpuMemory=None),
    ]
    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=handle,
        nvmlDeviceGetName=lambda _: "NVIDIA H200",
        nvmlDeviceGetMemoryInfo=lambda _: SimpleNamespace(total=1000, used=250, free=750),
        nvmlDeviceGetComputeRunningProcesses=lambda _: processes,
    )


def test_r29_resources_of_a_machine_with_a_gpu(as_alice, data_path, monkeypatch):
    nvml = two_cards()
    monkeypatch.setattr(machine, "_nvml", lambda: nvml)

    found = as_alice.get("/api/resources").json()

    assert found["type"] == "gpu"
    assert found["gpus"] == [
        {
            "index": 0,
            "name": "NVIDIA H200",
            "vendor": "nvidia",
            "total_vram": 1000,
            "used_vram": 250,
            "free_vram": 750,
            "usage_percent": 25.0,
        }
    ]
    assert found["aggregate"] == {
        "total_memory": 1000,
        "used_memory": 250,
        "free_memory": 750,
        "usage_percent": 25.0,
        "gpu_count": 1,
    }
    assert found["ram"]["total"] > 0
    assert machine.gpu_memory_by_pid() == {7: 200, 8: 0}


def test_r29_a_container_has_the_memory_it_is_given(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    assert machine.memory()["total"] > 1024**3
    mib = 1024**2
    (tmp_path / "memory.current").write_text(f"{300 * mib}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {100 * mib}\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.memory()["total"] > 1024**3

    (tmp_path / "memory.max").write_text(f"{400 * mib}\n")

    found = machine.memory()
    assert (found["total"], found["used"], found["available"]) == (400 * mib, 200 * mib, 200 * mib)
    assert found["usage_percent"] == 50.0


def test_processors_are_as_busy_as_they_were_since_the_last_look(monkeypatch):
    times = iter([(100.0, 1000.0), (150.0, 1100.0), (150.0, 1100.0)])
    monkeypatch.setattr(Processors, "_times", staticmethod(lambda: next(times)))
    processors = Processors()

    assert processors.usage() == 50.0
    assert processors.usage() == 0.0


def test_folders_on_one_disk_are_one_entry_and_missing_ones_are_their_parents(tmp_path):
    (found,) = disks({"data": tmp_path / "not" / "yet", "models": tmp_path})

    assert found["holds"] == ["data", "models"]


# --- engines without an engine process ------------------------------------------------------------


def test_system_lists_what_is_loaded(as_alice, model):
    """GET /system: backends and loaded models."""
    assert as_alice.get("/system").json() == {"backends": [], "loaded_models": []}
    Engine.objects.create(model=model, state=EngineState.READY)

    found = as_alice.get("/system").json()

    assert found["loaded_models"] == [{"id": "org/m", "backend": "fake"}]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/backend/monitor"), ("POST", "/backend/shutdown"), ("POST", "/backend/load")],
)
@pytest.mark.parametrize(
    "body", [None, {}, {"model": ""}, {"model": 5}, {"model": "x" * 300}, b"[", b'"m"', b"\xff"]
)
def test_r14_without_a_model_it_is_a_400(as_alice, data_path, method, path, body):
    assert as_alice(method, path, body).status_code == 400


@pytest.mark.parametrize("state", [None, EngineState.STOPPED, EngineState.FAILED])
def test_r14_what_is_not_loaded_is_a_404(as_alice, model, state):
    if state is not None:
        Engine.objects.create(model=model, state=state)
    for answer in (
        as_alice.get("/backend/monitor?model=org/m"),
        as_alice("GET", "/backend/monitor", {"model": "org/m"}),
        as_alice.post("/backend/shutdown", {"model": "org/m"}),
        as_alice.post("/backend/shutdown", {"model": "nobody"}),
    ):
        assert answer.status_code == 404
        assert "is not currently loaded" in answer.json()["error"]["message"]


def test_r14_a_model_that_cannot_be_loaded_says_why(as_alice, model):
    assert as_alice.post("/backend/load", {"model": "nobody"}).status_code == 404
    answer = as_alice.post("/backend/load", {"model": "org/m"})
    assert answer.status_code == 503
    assert "fake, is not installed" in answer.json()["error"]["message"]
    Model.objects.update(enabled=False)
    assert as_alice.post("/backend/load", {"model": "org/m"}).status_code == 409


def test_r14_without_an_engine_process_a_request_is_refused_and_taken_back(
    as_alice, model, monkeypatch
):
    monkeypatch.setattr(engine_requests, "HEARD_WITHIN_S", 0.1)
    Engine.objects.create(model=model, state=EngineState.READY, address="unix:/nowhere")

    answer = as_alice.post("/backend/shutdown", {"model": "org/m"})

    assert answer.status_code == 503
    assert "engine process does not answer" in answer.json()["error"]["message"]
    assert answer.headers["retry-after"] == "5"
    row = Model.objects.get()
    assert (row.unload_asked_at, row.wanted_at) == (None, None)


def test_r14_an_engine_whose_processes_are_gone_has_no_memory(as_alice, model):
    Engine.objects.create(model=model, state=EngineState.READY, pid=1, address="unix:/nowhere")

    found = as_alice.get("/backend/monitor?model=org/m")

    assert found.json() == {"state": 2, "memory": {"total": 0, "breakdown": {}}}


@pytest.mark.parametrize(
    ("state", "told"), [("starting", None), ("waiting", -1), ("draining", 2), ("ready", 2)]
)
def test_r14_states_have_localais_numbers(as_alice, model, state, told):
    Engine.objects.create(model=model, state=state)

    assert as_alice.get("/backend/monitor?model=org/m").json().get("state") == told


def test_r14_who_calls_an_engine_that_stops_has_it_started_again(model):
    """To the lane it is one that is not loaded: a call asks for it, and is not sent to it."""
    Engine.objects.create(model=model, state=EngineState.DRAINING, address="unix:/s")

    (target,) = local_targets([])

    assert target.state == "stopped"


def test_r29_engines_are_listed_with_a_fixed_number_of_queries(
    as_alice, model, django_assert_max_num_queries
):
    Engine.objects.create(
        model=model,
        state=EngineState.WAITING,
        message="the engine ended",
        tries=2,
        next_try_at=timezone.now(),
    )
    for i in range(5):
        more = Model.objects.create(name=f"n{i}", source="", backend="fake", directory="/x")
        Engine.objects.create(model=more, state=EngineState.STOPPED)
    Model.objects.create(name="z", source="", backend="fake", directory="/x")

    with django_assert_max_num_queries(5):  # four are the session's
        found = as_alice.get("/api/engines").json()["engines"]

    assert [each["model"] for each in found] == ["n0", "n1", "n2", "n3", "n4", "org/m", "z"]
    first, last = found[5], found[6]
    assert (first["state"], first["message"], first["restarts"]) == (
        "waiting",
        "the engine ended",
        2,
    )
    assert first["next_try_at"].endswith("Z")
    assert (last["state"], last["uptime_seconds"], last["memory"]["total"]) == ("stopped", None, 0)


def test_r29_remote_engines_are_listed_by_host_without_their_secrets(
    as_alice, data_path, settings, stub
):
    more = {"engines": [f"far=http://user:secret@127.0.0.1:{stub.port}", "gone=http://127.0.0.1:9"]}
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update=more)

    answer = as_alice.get("/api/engines")

    found = {each["model"]: each for each in answer.json()["engines"]}
    assert found["far"]["state"] == "ready"
    assert found["far"]["host"] == f"127.0.0.1:{stub.port}"
    assert (found["gone"]["state"], found["gone"]["running"]) == ("waiting", None)
    assert "secret" not in answer.text


# --- how an engine is read ------------------------------------------------------------------------


def test_metrics_are_summed_over_their_labels(tmp_path):
    import socket
    import threading

    page = (
        b'HTTP/1.1 200 OK\r\n\r\n1f\r\n# HELP x y\nx{a="b c"} 1.5\nx{a="}"} 2\ny 3e2\nz nothing\n'
    )
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer():
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.sendall(page)
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        found = read_metrics(path, timeout_s=2)
        thread.join()

    assert found == {"x": 3.5, "y": 300.0}
    assert read_metrics(tmp_path / "nothing", timeout_s=1) is None
