"""Models and their backends: one that is missing, one that comes along, one that has to convert first."""

import json

import pytest

from accounts.runtime import env
from inference import backends_here, model_install, operation_work, operations
from inference.backend_galleries import find
from inference.engine_rows import local_targets
from inference.models import Engine, EngineState, Model, Operation, OperationState
from inference.operations import Action, Kind, Wish
from inference.recipes import recipes
from inference.tests.installs import file_at, finish, run, run_deletion, run_install
from tests.stub_backend import recipe

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


# --- models and their backends ---------------------------------------------------------------------


def test_r05_a_model_says_which_backend_it_misses_until_it_is_there(index, offer, server):
    offer(recipe("1.0"))
    run(name="own", files=[file_at(server)], backend="stub")
    (target,) = local_targets([])
    assert (target.state, target.message) == ("failed", "its backend stub is not installed")

    run_install()

    (target,) = local_targets([])
    assert target.state == "loading"
    Engine.objects.create(model_id="own", state=EngineState.STOPPED)
    assert local_targets([])[0].state == "stopped"
    run_deletion()
    assert local_targets([])[0].message == "its backend stub is not installed"


def test_a_models_backend_comes_with_it_unless_an_admin_says_otherwise(
    offer, home, server, monkeypatch
):
    """SET:autoload_backend_galleries: on, installing a model asks for its backend, too."""
    offer(recipe("1.0"))
    run(name="one", files=[file_at(server)], backend="stub")
    assert not Operation.objects.filter(kind=Kind.BACKEND).exists()

    monkeypatch.setattr(operation_work, "value", lambda name: name == "autoload_backend_galleries")
    run(name="two", files=[file_at(server)], backend="stub")

    row = Operation.objects.get(kind=Kind.BACKEND)
    assert (row.target, row.asked_by, row.state) == ("stub", "alice@example.org", "queued")


def test_the_backend_of_a_folder_that_becomes_a_model_comes_too(
    as_alice, offer, home, server, monkeypatch
):
    """POST /models/import, SET:autoload_backend_galleries."""
    offer(recipe("1.0"))
    (home / "mine").mkdir()
    (home / "mine" / "config.json").write_text("{}")
    monkeypatch.setattr(operation_work, "value", lambda name: name == "autoload_backend_galleries")
    given = {"name": "mine", "backend": "stub"}
    job = operations.find(as_alice.post("/models/import", given).json()["uuid"])

    assert finish(job).state == OperationState.DONE

    assert Operation.objects.get(kind=Kind.BACKEND).target == "stub"


def test_a_backend_that_may_not_be_installed_does_not_come_with_a_model(
    offer, home, server, settings, monkeypatch
):
    """SET:autoload_backend_galleries: a model is no way around R-20."""
    monkeypatch.setattr(operation_work, "value", lambda _name: True)
    offer(recipe("1.0"))
    settings.GATEHOUSE = env().model_copy(update={"external_backends": {}})

    run(name="own", files=[file_at(server)], backend="stub")

    assert not Operation.objects.filter(kind=Kind.BACKEND).exists()


CONVERTED = (
    '#!/bin/sh\nfor last; do :; done\necho converted > "$3/model.safetensors"\nenv > "$3/env"\n'
)


def fake_backend():
    """An installed backend whose Python is a script that writes where the converter should."""
    found = recipes()["stub"]
    python = found.python(env().backends_path)
    python.parent.mkdir(parents=True)
    python.write_text(CONVERTED)
    python.chmod(0o700)
    folder = found.folder(env().backends_path)
    (folder / "backend.json").write_text(json.dumps(backends_here.note_of(find("own@stub"))))
    (folder / "installed").write_text("1.0")
    backends_here.make_current(found)


def gguf(server):
    entry = {"convert": "gguf", "architecture": "LlamaForCausalLM", "capabilities": ["chat"]}
    return {
        "name": "own",
        "files": [file_at(server, name="m.gguf")],
        "backend": "stub",
        "overrides": entry,
    }


def test_r19_what_is_to_be_converted_waits_for_its_backend_and_goes_on(
    offer, home, server, monkeypatch
):
    monkeypatch.setenv("LOCALAI_API_KEY", "s3cret")
    offer(recipe("1.0"))
    job = run(**gguf(server))

    assert job.state == OperationState.QUEUED
    assert job.message == "downloaded, not prepared: waits for backend stub"
    assert not Model.objects.exists()
    assert operations.next_queued() is None
    later = operations.enqueue(Wish(Kind.MODEL, Action.DELETE, "nothing"))
    assert operations.next_queued() == later  # what waits holds up nobody
    finish(later)
    asked = len(server.asked)

    fake_backend()
    assert operations.next_queued() == job
    Operation.objects.filter(pk=job.pk).update(state=OperationState.RUNNING)
    job = finish(Operation.objects.get(pk=job.pk))

    assert (job.state, len(server.asked)) == (OperationState.DONE, asked)  # nothing fetched again
    assert (home / "own" / "model.safetensors").read_text() == "converted\n"
    assert "s3cret" not in (home / "own" / "env").read_text()
    assert not (home / ".staging" / "own").exists()


def test_r19_what_waits_and_is_cancelled_leaves_nothing(offer, home, server):
    offer(recipe("1.0"))
    job = run(**gguf(server))
    Operation.objects.filter(pk=job.pk).update(started_at="2026-01-01T00:00:00Z")
    assert (home / ".staging" / "own" / model_install.BROUGHT).exists()
    operations.resume_interrupted()  # a restart of everything
    assert (home / ".staging" / "own" / model_install.BROUGHT).exists()

    operations.cancel(str(job.pk))

    assert not (home / ".staging" / "own").exists()
    job.refresh_from_db()
    assert job.state == OperationState.CANCELLED


def test_r19_a_backend_that_nobody_offers_is_not_waited_for(offer, home, server):
    offer(recipe("1.0"))

    job = run(**{**gguf(server), "backend": "other"})

    assert job.state == OperationState.FAILED
    assert "other, which nobody offers" in job.message
    assert not (home / ".staging" / "own").exists()


def test_r19_the_child_that_went_back_into_the_queue_did_not_fail(offer, home, server):
    offer(recipe("1.0"))
    job = run(**gguf(server))

    operations.end_unexpectedly(job)
    job.refresh_from_db()
    assert job.state == OperationState.QUEUED

    Operation.objects.filter(pk=job.pk).update(state=OperationState.RUNNING)
    operations.end_unexpectedly(job)
    job.refresh_from_db()
    assert job.message == "The installer ended unexpectedly."
