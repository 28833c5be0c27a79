"""Several engines of one model: together they are the model, one that falls takes no other along."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import orjson
import psutil
import pytest

from accounts.runtime import stored_settings
from inference import replicas, supervisor
from inference.engine_limits import Limits
from inference.engine_rows import local_targets
from inference.log_files import last_lines, log_folder
from inference.models import Engine, EngineState, Model
from inference.replicas import Replicas
from inference.tests.fake_backend import FALLS, STUB, backend, running_engine_process
from inference.tests.fake_backend import use_fake_backend as use

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
SAYS = (
    "import sys, time\nfor i in range(400):\n"
    " print('out', i, flush=True); print('err', i, file=sys.stderr, flush=True)\ntime.sleep(60)"
)


@pytest.fixture
def make(settings, tmp_path, monkeypatch):
    """The engines of one model, of which the test moves the time."""
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"data_path": tmp_path})
    monkeypatch.setattr(supervisor, "BACKOFF_S", (0.05,) * 5)
    for name in ("PROBE_STARTING_S", "PROBE_READY_S"):
        monkeypatch.setattr(supervisor, name, 0.05)
    stored_settings().fresh()
    made = []
    with ThreadPoolExecutor(4) as probes:

        def begin(program=STUB, replicas=3, **fields):
            row = Model.objects.create(
                name="m", backend="fake", directory=str(tmp_path), replicas=replicas, **fields
            )
            made.append(Replicas(row, backend(program), probes))
            made[-1].want()
            return made[-1]

        yield begin
        for engines in made:
            engines.stop()


def until(engines, check, timeout_s=20):
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, list(Engine.objects.values())
        engines.tick()
        time.sleep(0.02)


def states():
    return list(Engine.objects.order_by("replica").values_list("state", flat=True))


def target():
    (found,) = local_targets([])
    return found


def test_every_replica_has_an_address_and_callers_know_all_of_them(make):
    engines = make()

    until(engines, lambda: states() == ["ready"] * 3)

    assert len(set(target().addresses)) == 3
    assert target().address == target().addresses[0]
    assert engines.state == EngineState.READY


def test_a_replica_that_is_killed_comes_back_while_the_others_serve(make, monkeypatch):
    engines = make()
    until(engines, lambda: states() == ["ready"] * 3)
    monkeypatch.setattr(supervisor, "BACKOFF_S", (1.0,) * 5)
    others = [engines.runners[i].pid for i in (0, 2)]

    os.kill(psutil.Process(engines.runners[1].pid).children()[0].pid, signal.SIGKILL)
    until(engines, lambda: states() == ["ready", "waiting", "ready"])
    assert (target().state, len(target().addresses)) == ("ready", 2)
    until(engines, lambda: states() == ["ready"] * 3)

    assert [engines.runners[i].pid for i in (0, 2)] == others
    assert list(Engine.objects.order_by("replica").values_list("tries", flat=True)) == [0, 1, 0]


def test_one_that_serves_alone_has_one_address(make):
    engines = make(replicas=2)
    until(engines, lambda: states() == ["ready"] * 2)

    engines.runners[0].stop()
    engines._is_wanted = False

    assert target().addresses == ()
    assert target().address.endswith(engines.runners[1]._socket.name)


def test_more_replicas_are_started_and_surplus_ones_are_drained(make):
    engines = make(replicas=1)
    until(engines, lambda: states() == ["ready"])
    first = engines.runners[0].pid

    engines.follow(Model(name="m", directory=engines.model.directory, replicas=3))
    until(engines, lambda: states() == ["ready"] * 3)
    engines.follow(Model(name="m", directory=engines.model.directory, replicas=1))
    until(engines, lambda: EngineState.DRAINING in states())
    until(engines, lambda: states() == ["ready"])

    assert engines.runners[0].pid == first


def test_a_model_of_which_every_engine_gave_up_has_failed(make):
    engines = make(FALLS, replicas=2)

    until(engines, lambda: engines.state == EngineState.FAILED)

    assert states() == ["failed", "failed"]
    assert (target().state, "ValueError" in target().message) == ("failed", True)


def test_r13_replicas_share_a_log_that_keeps_each_streams_order(make, settings):
    engines = make(SAYS)

    def lines():
        folder = log_folder(settings.GATEHOUSE.data_path, "m")
        found, after = [], 0
        while more := last_lines(folder, after):
            found += [orjson.loads(line) for line in more]
            after = found[-1]["seq"]
        return found

    until(engines, lambda: len(lines()) >= 2400)

    found = lines()
    assert [line["seq"] for line in found] == list(range(1, 2401))
    for replica in range(3):
        for stream, word in (("stdout", "out"), ("stderr", "err")):
            mine = [
                line["text"]
                for line in found
                if line["stream"] == stream and line.get("replica", 0) == replica
            ]
            assert mine == [f"{word} {i}" for i in range(400)]


def test_no_idle_time_is_so_short_that_nobody_can_come(make, monkeypatch):
    monkeypatch.setattr(replicas, "SETTLE_S", 1.5)
    engines = make(replicas=1)
    engines.limits = Limits(idle_s=0.0)  # 1ns
    until(engines, lambda: states() == ["ready"])
    began = time.monotonic()

    until(engines, lambda: EngineState.DRAINING in states())

    assert time.monotonic() - began > 1.3


def test_a_model_is_unloaded_when_all_its_engines_were_idle(make, monkeypatch):
    monkeypatch.setattr(replicas, "SETTLE_S", 0.3)
    engines = make(replicas=2, idle_timeout_s=1)
    until(engines, lambda: states() == ["ready"] * 2)
    pids = [runner.pid for runner in engines.runners]

    until(engines, lambda: EngineState.DRAINING in states())
    until(engines, lambda: states() == ["stopped"] * 2)

    assert {row.message for row in Engine.objects.all()} == {"unloaded: it was idle"}
    assert not any(psutil.pid_exists(pid) for pid in pids)
    engines.want()
    until(engines, lambda: states() == ["ready"] * 2)


def test_r14_all_replicas_are_loaded_told_of_and_shut_down_as_one_model(
    as_alice, settings, monkeypatch, tmp_path
):
    use(settings, monkeypatch, tmp_path, backend())
    Model.objects.create(
        name="m", backend="fake", directory=str(tmp_path), replicas=2, load_at_start=False
    )
    with running_engine_process():
        assert as_alice.post("/backend/load", {"model": "m"}).status_code == 200
        deadline = time.monotonic() + 10
        while states() != ["ready"] * 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)

        (found,) = as_alice.get("/api/engines").json()["engines"]
        assert [each["state"] for each in found["replicas"]] == ["ready", "ready"]
        assert found["memory"]["total"] == sum(each["memory"] for each in found["replicas"])
        monitored = as_alice.get("/backend/monitor?model=m").json()
        assert (monitored["state"], monitored["memory"]["total"] > 2_000_000) == (2, True)
        assert len(as_alice.get("/system").json()["loaded_models"]) == 1
        assert as_alice.post("/backend/shutdown", {"model": "m"}).status_code == 200
        assert states() == ["stopped", "stopped"]
