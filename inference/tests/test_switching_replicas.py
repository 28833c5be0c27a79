"""Upgrades under load, of several replicas, without room, and with an end in the middle (R-31, R-33)."""

import asyncio
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import psutil
import pytest
from django.db import connections
from django.utils import timezone

from accounts.runtime import env, generations
from core.errors import GatehouseError
from inference import engine_process, replicas, supervisor
from inference.api.adapter import want_model, with_database
from inference.endpoints import ENDPOINTS
from inference.engine_limits import Limits
from inference.engine_rows import local_targets
from inference.handlers import infer
from inference.models import SWITCHING, Engine, Model
from inference.table_keeper import TableKeeper
from inference.tests.fake_backend import FALLS, STUB, backend
from inference.tests.rig import Rig
from inference.tests.upgrades import (
    CHAT,
    loaded,
    on_the_side,
    row,
    rows,
    streaming,
    until,
    upgrader,
)

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
MB = 1_000_000
SECOND = replace(backend(), version="2", digest="e")
NEVER_READY = "import time; time.sleep(60)"


@pytest.fixture
def upgrade(settings, monkeypatch, tmp_path):
    return upgrader(settings, monkeypatch, tmp_path)


@pytest.fixture
def room_for(settings, upgrade):
    """So many models of 100 MB fit into the budget; `upgrade` has set the paths before."""

    def use(n):
        budget = f"{n * 100 + 50}MB"
        settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"ram_budget": budget})

    return use


@contextmanager
def under_load(folder):
    """Six callers of the lane's own work, one request after the other, and how many engines served
    at the least: both are in what comes back, when the block has ended.
    """
    stop, found = threading.Event(), {"least": 99, "answers": Counter()}

    def count():
        while not stop.is_set():
            found["least"] = min(found["least"], Engine.objects.filter(state="ready").count())
            time.sleep(0.01)
        connections.close_all()

    def call():
        found["answers"] = asyncio.run(callers(folder, stop))

    threads = [threading.Thread(target=each) for each in (count, call)]
    for each in threads:
        each.start()
    time.sleep(0.5)
    try:
        yield found
        time.sleep(0.5)
    finally:
        stop.set()
        for each in threads:
            each.join(60)


async def callers(folder, stop):
    rig = Rig(folder / "journal")
    loop, table, found = asyncio.get_running_loop(), rig.runtime.engines, Counter()

    async def load():
        return await asyncio.to_thread(with_database, local_targets, [])

    keeper = TableKeeper(table, load=load, generations=generations(), remote=[])
    rig.runtime.want_model = lambda name: loop.run_in_executor(
        None, with_database, want_model, name
    )
    rig.runtime.refresh_engines = keeper.refresh_if_moved
    await keeper.refresh_local()
    follows = asyncio.create_task(keeper.follow_local())

    async def client():
        while not stop.is_set():
            given = {**CHAT, "stub": {"tokens": 3, "tick": 0.03}}
            call, answer = rig.call("chat-completions", given)
            try:
                await infer(call, answer, rig.runtime, ENDPOINTS["chat-completions"])
                found[answer.status] += 1
            except GatehouseError as exc:
                found[str(exc)] += 1

    await asyncio.gather(*(client() for _ in range(6)))
    follows.cancel()
    await rig.runtime.finish()
    return found


def pids():
    return [each.pid for each in rows()]


def alive(of):
    return [pid for pid in of if pid and psutil.pid_exists(pid)]


def test_r33_two_replicas_go_over_one_after_the_other_and_no_request_is_dropped(upgrade, tmp_path):
    with loaded(replicas=2) as process:
        before = rows()
        with under_load(tmp_path) as found, ExitStack() as stack:
            streams = [
                stack.enter_context(streaming(each.address, tokens=40, tick=0.2)) for each in before
            ]
            time.sleep(0.3)
            upgrade(SECOND)
            old = {each.pid for each in before}
            until(lambda: not old & set(pids()))
            assert set(alive(old)) == old  # each has its stream
            assert len(on_the_side(process)) == 2
        assert all("data: [DONE]" in got for got in streams)
        assert found["least"] == 2
        assert set(found["answers"]) == {200}
        until(lambda: alive(old) == [])
        assert [each.recipe.version for each in process._models["m"].runners] == ["2", "2"]
        until(lambda: on_the_side(process) == [])


def test_r33_without_room_beside_replicas_take_turns_and_nobody_is_held(
    upgrade, room_for, tmp_path
):
    """The budget counts the one beside as any other engine (R-31)."""
    room_for(2)
    with loaded(replicas=2, memory_bytes=100 * MB):
        before = pids()
        with under_load(tmp_path) as found:
            upgrade(SECOND)
            until(lambda: not set(before) & set(pids()) and alive(before) == [])
            until(lambda: [each.state for each in rows()] == ["ready"] * 2)
        assert found["least"] == 1
        assert set(found["answers"]) == {200}


def test_r33_without_room_beside_callers_of_the_only_engine_are_held(upgrade, room_for, tmp_path):
    room_for(1)
    with loaded(memory_bytes=100 * MB):
        before = pids()
        with under_load(tmp_path) as found:
            upgrade(SECOND)
            until(lambda: row().message == SWITCHING)
            until(lambda: row().state == "ready" and pids() != before)
        assert found["least"] == 0
        assert set(found["answers"]) == {200}
        assert alive(before) == []


def test_r33_a_refused_version_leaves_every_replica_as_it_was(upgrade, tmp_path):
    with loaded(replicas=2) as process:
        before = pids()
        with under_load(tmp_path) as found:
            upgrade(replace(backend(FALLS), version="2", digest="e"))
            until(lambda: "does not start" in "".join(each.message for each in rows()))
            time.sleep(0.5)
        assert (pids(), found["least"], set(found["answers"])) == (before, 2, {200})
        until(lambda: on_the_side(process) == [])
        assert all(each.recipe == backend() for each in process._models["m"].runners)
        current = backend().folder(env().backends_path).parent / "current"
        assert current.read_text() == backend().digest


def test_r33_one_that_falls_while_the_new_version_tries_comes_back_as_it_was(upgrade, monkeypatch):
    """The old one is killed before the new version falls, and would have come back with that."""
    monkeypatch.setattr(supervisor, "BACKOFF_S", (1.5,) * 5)
    slowly = f"import time; time.sleep(1); {FALLS}"
    with loaded() as process:
        before = row()
        upgrade(replace(backend(slowly), version="2", digest="e"))
        until(lambda: on_the_side(process))
        psutil.Process(before.pid).kill()
        until(lambda: row().state == "waiting")

        until(lambda: row().state == "ready")

        (runner,) = process._models["m"].runners
        assert runner.recipe == backend()
        current = runner.recipe.folder(env().backends_path).parent / "current"
        assert current.read_text() == backend().digest


def test_r33_a_refused_version_gives_way_again_also_where_it_had_no_room_beside(upgrade, room_for):
    room_for(1)
    with loaded(memory_bytes=100 * MB) as process:
        before = pids()
        upgrade(replace(backend(FALLS), version="2", digest="e"))
        until(lambda: pids() != before and row().state == "ready")

        (runner,) = process._models["m"].runners
        assert runner.recipe == backend()
        current = runner.recipe.folder(env().backends_path).parent / "current"
        assert current.read_text() == backend().digest
        again = pids()
        time.sleep(0.5)
        assert pids() == again  # it is not tried a second time
        upgrade(replace(backend(), version="3", digest="f"))
        until(lambda: runner.recipe.version == "3" and row().state == "ready")


@pytest.mark.parametrize("what", ["unload", "disable", "delete"])
def test_r33_a_model_that_goes_in_the_middle_of_it_leaves_nothing_running(upgrade, what):
    with loaded(replicas=2) as process:
        upgrade(replace(backend(NEVER_READY), version="2", digest="e"))
        new = until(lambda: [each.pid for each in on_the_side(process)])
        every = [*pids(), *new]

        rows_of = Model.objects.filter(pk="m")
        {
            "unload": lambda: rows_of.update(unload_asked_at=timezone.now()),
            "disable": lambda: rows_of.update(enabled=False),
            "delete": lambda: Model.objects.get(pk="m").delete(),
        }[what]()

        until(lambda: alive(every) == [])
        until(lambda: on_the_side(process) == [])


def test_r33_a_replica_that_is_not_wanted_any_more_is_not_brought_over(upgrade, tmp_path):
    """Its turn had come: the one beside goes with it."""
    once = f"import pathlib, time; p = pathlib.Path({str(tmp_path / 'once')!r}); n = p.exists();"
    second_hangs = f"{once} p.touch(); n and time.sleep(60);{STUB}"
    with loaded(replicas=2) as process:
        before = pids()
        upgrade(replace(backend(second_hangs), version="2", digest="e"))
        until(lambda: pids()[0] != before[0])
        (new,) = until(lambda: [each.pid for each in on_the_side(process) if each.replica == 1])

        Model.objects.update(replicas=1)

        until(lambda: len(rows()) == 1 and alive([*before, new]) == [])
        assert (row().state, alive(pids())) == ("ready", pids())


def test_r33_who_leaves_counts_until_it_is_gone(upgrade, room_for):
    """Another model has no room beside the new version and the old one, which ends a stream."""
    room_for(2)
    with loaded(memory_bytes=100 * MB) as process:
        before = row()
        Model.objects.create(
            name="other", backend="fake", directory="/x", memory_bytes=100 * MB, load_at_start=False
        )
        with streaming(before.address, tokens=20, tick=0.2) as got:
            time.sleep(0.3)
            upgrade(SECOND)
            until(lambda: row().pid != before.pid)
            Model.objects.filter(pk="other").update(wanted_at=timezone.now())
            held = until(lambda: Engine.objects.filter(model_id="other").first())
            until(lambda: Engine.objects.get(model_id="other").message.startswith("needs 100.0 MB"))
            assert held is not None
            assert "data: [DONE]" not in got
            assert not process._models["m"].is_idle_since(0)
        assert "data: [DONE]" in got
        until(lambda: Engine.objects.get(model_id="other").state == "ready")


def test_r33_an_unloaded_model_is_not_down_before_its_leaving_engine_is(upgrade):
    with loaded():
        before = row()
        with streaming(before.address, tokens=15, tick=0.2) as got:
            time.sleep(0.3)
            upgrade(SECOND)
            until(lambda: row().pid != before.pid)
            Model.objects.update(unload_asked_at=timezone.now())
            until(lambda: row().state == "draining")
            time.sleep(1)
            assert row().state == "draining"
            assert "data: [DONE]" not in got
        assert "data: [DONE]" in got
        until(lambda: row().state == "stopped")
        assert alive([before.pid]) == []


def test_r33_a_stuck_stream_of_the_version_before_is_ended_by_the_busy_watchdog(
    upgrade, monkeypatch
):
    monkeypatch.setattr(replicas, "BUSY_GRACE_S", 0.2)
    limits = Limits(busy_s=0.5, interval_s=0.1)
    with loaded():
        before = row()
        with streaming(before.address, hang=True):
            time.sleep(0.3)
            upgrade(SECOND)
            until(lambda: row().pid != before.pid)
            monkeypatch.setattr(engine_process, "limits_in_force", lambda: limits)
            until(lambda: alive([before.pid]) == [])
        assert row().state == "ready"


def test_r33_who_is_unloaded_while_it_is_to_start_anew_holds_nobody_and_stays_down(
    upgrade, room_for
):
    room_for(1)
    with loaded(memory_bytes=100 * MB):
        before = row()
        with streaming(before.address, tokens=10, tick=0.2) as got:
            time.sleep(0.3)
            upgrade(SECOND)
            until(lambda: row().message == SWITCHING)
            Model.objects.update(unload_asked_at=timezone.now())
            until(lambda: row().message != SWITCHING)
        assert "data: [DONE]" in got
        until(lambda: row().state == "stopped")
        time.sleep(0.5)
        (target,) = local_targets([])
        assert (row().state, target.hold_s, alive([before.pid])) == ("stopped", 0, [])
        Model.objects.update(wanted_at=timezone.now())
        until(lambda: row().state == "ready")
