"""An upgrade of a backend: its engines go over to the new version, and nobody who is served is dropped."""

import asyncio
import time
from contextlib import ExitStack
from dataclasses import replace

import httpx
import psutil
import pytest

from accounts.runtime import env
from core.errors import EngineFailedError, ModelLoadingError
from inference import engine_process, engine_rows, switching
from inference.engine_facts import facts_of
from inference.engine_rows import local_targets
from inference.engine_table import EngineTable, Target
from inference.models import SWITCHING, EngineState, Model
from inference.tests.fake_backend import FALLS, backend
from inference.tests.upgrades import (
    CHAT,
    engine,
    loaded,
    on_the_side,
    row,
    streaming,
    until,
    upgrader,
)


@pytest.fixture
def upgrade(settings, monkeypatch, tmp_path):
    return upgrader(settings, monkeypatch, tmp_path)


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_r33_a_new_version_starts_beside_the_old_one_which_ends_its_streams(upgrade):
    with loaded() as process:
        before = row()
        with streaming(before.address, tokens=20, tick=0.15) as got:
            time.sleep(0.3)
            upgrade(replace(backend(), version="2", digest="e"))
            after = until(lambda: row().address != before.address and row())

            assert after.state == EngineState.READY
            assert after.pid != before.pid
            assert psutil.pid_exists(before.pid)  # it serves its stream
            assert "data: [DONE]" not in got
            with engine(after.address) as client:
                assert client.post("/v1/chat/completions", json=CHAT).status_code == 200
        assert "data: [DONE]" in got
        until(lambda: not psutil.pid_exists(before.pid))
        assert row().pid == after.pid
        assert row().state == EngineState.READY
        assert process._models["m"].runners[0].recipe.version == "2"
        until(lambda: on_the_side(process) == [])

        upgrade(replace(backend(), version="3", digest="f"))  # and once more
        until(lambda: row().pid != after.pid and not psutil.pid_exists(after.pid))
        assert row().state == EngineState.READY
    assert not psutil.pid_exists(row().pid or before.pid)


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_r33_a_version_that_does_not_start_leaves_the_old_one_serving(upgrade):
    with loaded() as process:
        before = row()
        upgrade(replace(backend(FALLS), version="2", digest="e"))
        until(lambda: "does not start" in row().message)

        time.sleep(0.3)
        assert (row().pid, row().address, row().state) == (
            before.pid,
            before.address,
            EngineState.READY,
        )
        until(lambda: on_the_side(process) == [])
        counts = (
            process._models["m"].runners[0].recipe.folder(env().backends_path).parent / "current"
        )
        assert counts.read_text() == backend().digest  # also after a restart
        with engine(before.address) as client:
            assert client.post("/v1/chat/completions", json=CHAT).status_code == 200

        upgrade(replace(backend(), version="3", digest="f"))  # the next one is tried
        until(lambda: row().pid != before.pid)
        assert row().message == ""


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_r33_where_memory_is_short_the_old_one_is_drained_first(upgrade, monkeypatch):
    monkeypatch.setattr(switching, "has_room_beside", lambda *_: False)
    with loaded():
        before = row()
        with streaming(before.address, tokens=10, tick=0.15) as got:
            time.sleep(0.3)
            upgrade(replace(backend(), version="2", digest="e"))
            until(lambda: row().state == EngineState.DRAINING)
            (target,) = local_targets([])
            assert (row().message, target.hold_s) == (SWITCHING, engine_rows.HOLD_S)
        assert "data: [DONE]" in got
        until(lambda: row().state == EngineState.READY and row().pid != before.pid)
        assert not psutil.pid_exists(before.pid)
        (target,) = local_targets([])
        assert (target.state, target.hold_s) == ("ready", 0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_a_model_that_is_not_loaded_starts_with_the_new_version(upgrade):
    with loaded() as process:
        Model.objects.update(unload_asked_at="2026-01-01T00:00:00Z")
        until(lambda: row().state == EngineState.STOPPED)
        upgrade(replace(backend(), version="2", digest="e"))
        until(lambda: process._models["m"].runners[0].recipe.version == "2")
        assert row().state == EngineState.STOPPED

        Model.objects.update(wanted_at="2026-01-01T00:00:00Z")
        until(lambda: row().state == EngineState.READY)


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_r05_a_model_whose_backend_went_is_not_started_and_comes_back_with_it(upgrade):
    with loaded() as process:
        Model.objects.update(unload_asked_at="2026-01-01T00:00:00Z")
        until(lambda: row().state == EngineState.STOPPED)
        upgrade(None)
        until(lambda: "m" not in process._models)
        Model.objects.update(wanted_at="2026-01-01T00:00:00Z")
        time.sleep(0.3)
        assert row().state == EngineState.STOPPED
        assert local_targets([])[0].message == "its backend fake is not installed"

        upgrade(backend())
        until(lambda: row().state == EngineState.READY)


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_r33_upgrades_one_after_the_other_cut_no_stream_of_any_version(upgrade, monkeypatch):
    """Each engine has a socket of its own, also where a version comes back or memory gets short."""
    with loaded() as process:
        streams, pids = [], set()
        with ExitStack() as stack:
            for i, digest in enumerate(("e", "d", "e", "f")):
                before = row()
                pids.add(before.pid)
                streams.append(stack.enter_context(streaming(before.address, tokens=25, tick=0.2)))
                time.sleep(0.2)
                if i == 3:
                    monkeypatch.setattr(switching, "has_room_beside", lambda *_: False)
                upgrade(replace(backend(), version=f"{i}{digest}", digest=digest))
                until(lambda before=before: row().state == "ready" and row().pid != before.pid)
        assert all("data: [DONE]" in got for got in streams)
        until(lambda: not any(map(psutil.pid_exists, pids)))
        until(lambda: on_the_side(process) == [])
        with engine(row().address) as client:
            assert client.post("/v1/chat/completions", json=CHAT).status_code == 200


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_r02_an_engine_may_listen_on_a_loopback_port_instead(upgrade):
    with loaded():
        before = row()
        at_a_port = tuple("{port}" if word == "{socket}" else word for word in backend().command)
        upgrade(replace(backend(), version="2", digest="e", command=at_a_port))
        until(lambda: row().pid != before.pid)

        after = row()
        assert after.address.startswith("http://127.0.0.1:")
        answer = httpx.post(f"{after.address}/v1/chat/completions", json=CHAT)
        assert answer.status_code == 200
        assert facts_of([after])[after.pk].running == 0
        upgrade(replace(backend(), version="3", digest="f"))
        until(lambda: not psutil.pid_exists(after.pid))  # drained: its counters are read there
        assert row().address.startswith("unix:")


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_a_model_that_is_disabled_takes_its_leaving_engine_along(upgrade, monkeypatch):
    monkeypatch.setattr(engine_process, "LET_GO_LIMIT_S", 1.0)
    with loaded() as process:
        before = row()
        with streaming(before.address, tokens=100, tick=0.2, die_after=500):
            time.sleep(0.3)
            upgrade(replace(backend(), version="2", digest="e"))
            until(lambda: row().pid != before.pid)
            Model.objects.update(enabled=False)
            until(lambda: not psutil.pid_exists(before.pid))
        until(lambda: on_the_side(process) == [])


def test_a_second_engine_wants_as_much_as_the_first_has(monkeypatch):
    runner = type("R", (), {"pid": None, "recipe": backend()})()
    for available, fits in ((switching.SPARE, True), (switching.SPARE - 1, False)):
        monkeypatch.setattr(
            switching, "memory", lambda available=available: {"available": available}
        )
        assert switching.has_room_beside(runner) is fits
    monkeypatch.setattr(switching, "memory", lambda: {"available": 2**50})
    monkeypatch.setattr(
        switching, "gpus", lambda: [type("C", (), {"free_vram": 2**40, "index": 0})()]
    )
    runner.recipe = replace(backend(), hardware=("nvidia",))
    assert switching.has_room_beside(runner) is False  # nobody can say what it has on the card


# --- the callers' side -----------------------------------------------------------------------------


def table(**fields):
    made = EngineTable()
    made.replace([target(**fields)])
    return made


def target(**fields):
    return Target("m", "m", **{"address": "unix:/a", "state": "ready", **fields})


async def test_r33_callers_are_held_while_their_engine_is_upgraded_in_its_place():
    engines = table(state="stopped", hold_s=5.0)
    waiting = asyncio.create_task(engines.ready(engines.targets["m"], 0.0))
    await asyncio.sleep(0.05)
    assert not waiting.done()

    engines.replace([target(address="unix:/b")])

    assert (await waiting).address == "unix:/b"


async def test_r33_they_are_held_for_a_while_only_and_learn_of_a_failure_at_once():
    engines = table(state="stopped", hold_s=0.05)
    with pytest.raises(ModelLoadingError):
        await engines.ready(engines.targets["m"], 0.0)

    engines.replace([target(state="failed", hold_s=5.0)])
    with pytest.raises(EngineFailedError):
        await engines.ready(engines.targets["m"], 0.0)


async def test_r33_who_stood_in_line_goes_over_to_the_engine_that_took_over():
    engines = table()
    old, gone = engines.targets["m"], {"unix:/a"}

    engines.replace([target(address="unix:/b")])
    assert (await engines.taken_over(old, gone)).address == "unix:/b"
    engines.replace([target()])
    assert (
        await engines.taken_over(old, gone) is None
    )  # the same one, started anew: nothing took over
    engines.replace([target(state="failed")])
    assert await engines.taken_over(old, gone) is None
    engines.replace([])
    assert await engines.taken_over(old, gone) is None
