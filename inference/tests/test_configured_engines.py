"""What a change of a model's configuration does to its engine, with the real supervisor and the stub."""

import time
from dataclasses import replace

import psutil
import pytest

from inference import model_configuration
from inference.configuration_files import keep
from inference.model_folders import CONFIGURATION
from inference.models import Engine, EngineState, Model
from inference.recipes import Option
from inference.sockets import socket_for
from inference.tests.fake_backend import backend, running_engine_process, use_fake_backend
from inference.tests.test_engine_requests import stream, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
CONFIG, LOAD, NAMED = "/api/models/config-json/m", "/backend/load", {"model": "m"}


@pytest.fixture
def engines(settings, monkeypatch, tmp_path):
    recipe = replace(backend(), options={"max_num_seqs": Option("integer", "--seqs", "", 4)})
    use_fake_backend(settings, monkeypatch, tmp_path, recipe)
    monkeypatch.setattr(model_configuration, "recipes", lambda: {"fake": recipe})
    folder = settings.GATEHOUSE.models_path / "m"
    folder.mkdir()
    Model.objects.create(
        name="m", source="", backend="fake", directory=str(folder), capabilities=["chat"]
    )
    keep("m")
    with running_engine_process() as process:
        until(lambda: state() == EngineState.READY)
        yield process


def state():
    return Engine.objects.values_list("state", flat=True).first()


def words():
    """The command line of the engine behind its guardian."""
    family = psutil.Process(Engine.objects.get().pid).children(recursive=True)
    return [word for each in family for word in each.cmdline()]


def test_changed_options_count_after_a_drained_restart(as_alice, engines, settings):
    assert "4" in words()
    pid = Engine.objects.get().pid
    thread, got = stream(socket_for("m", settings.GATEHOUSE.data_path), tokens=10, tick=0.1)

    answer = as_alice("PATCH", CONFIG, {"options": {"max_num_seqs": 7}})

    assert answer.json()["engine"] == "restarting"
    until(lambda: state() == EngineState.DRAINING)
    until(lambda: Engine.objects.get().pid not in {None, pid} and state() == EngineState.READY)
    thread.join(20)
    assert b"[DONE]" in b"".join(got)  # whoever was being served was served
    assert "7" in words()
    assert Model.objects.filter(wanted_at=None, unload_asked_at=None).exists()


def test_r34_whoever_prefers_to_wait_hears_when_it_has_started_anew(as_alice, engines):
    pid = Engine.objects.get().pid
    answer = as_alice("PATCH", CONFIG, {"options": {"max_num_seqs": 9}}, prefer="wait=30")

    assert (answer.json()["engine"], answer.json()["engine_state"]) == ("restarting", "ready")
    assert Engine.objects.get().pid != pid
    assert "9" in words()
    off = as_alice.put("/models/toggle-state/m/disable", prefer="wait=30")
    assert off.json()["engine_state"] == "stopped"


def test_r15_a_disabled_model_is_drained_and_comes_back_when_somebody_calls(
    as_alice, engines, settings
):
    pid = Engine.objects.get().pid
    thread, got = stream(socket_for("m", settings.GATEHOUSE.data_path), tokens=10, tick=0.1)

    assert as_alice.put("/models/toggle-state/m/disable").json()["engine"] == "unloading"

    until(lambda: state() == EngineState.STOPPED)
    thread.join(20)
    assert b"[DONE]" in b"".join(got)
    assert not psutil.pid_exists(pid)
    assert as_alice.post(LOAD, NAMED).status_code == 409

    assert as_alice.put("/models/toggle-state/m/enable").status_code == 200
    time.sleep(1)
    assert state() == EngineState.STOPPED  # nobody has called yet
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    assert as_alice.post("/v1/chat/completions", body).status_code == 503
    until(lambda: state() == EngineState.READY)


def test_a_file_that_was_edited_while_nobody_ran_counts_at_the_start(
    as_alice, settings, monkeypatch, tmp_path
):
    use_fake_backend(settings, monkeypatch, tmp_path, backend())
    folder = settings.GATEHOUSE.models_path / "m"
    folder.mkdir()
    Model.objects.create(name="m", source="", backend="fake", directory=str(folder))
    keep("m")
    text = (folder / CONFIGURATION).read_text()
    (folder / CONFIGURATION).write_text(text.replace("enabled: true", "enabled: false"))
    with running_engine_process():
        until(lambda: Model.objects.filter(enabled=False).exists())
    assert not Engine.objects.exists()
