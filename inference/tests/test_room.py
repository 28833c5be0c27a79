"""Budgets of memory and the number of models (R-31): who may start, who leaves, what callers learn."""

import asyncio
import socket as sockets
import threading
import time
from collections import Counter
from contextlib import contextmanager

import orjson
import pytest
from django.db import connections

from accounts.runtime import generations
from core.errors import GatehouseError
from inference import engine_use, replicas
from inference.api.adapter import want_model, with_database
from inference.endpoints import ENDPOINTS
from inference.engine_rows import local_targets
from inference.handlers import infer
from inference.memory_need import PROCESSES
from inference.models import Engine, EngineState, Model
from inference.sockets import socket_for
from inference.table_keeper import TableKeeper
from inference.tests.fake_backend import backend, running_engine_process, use_fake_backend
from inference.tests.rig import Rig

MB = 1_000_000
slow = pytest.mark.slow
database = pytest.mark.django_db(transaction=True)
CHAT, LOAD = "/v1/chat/completions", "/backend/load"


@pytest.fixture
def start(settings, monkeypatch, tmp_path, as_alice):
    """Models a, b, c of 100 MB each in a budget; the engine process runs for the block."""

    @contextmanager
    def begin(budget="250MB", names="abc", set_to=None, **fields):
        use_fake_backend(settings, monkeypatch, tmp_path, backend())
        monkeypatch.setattr(replicas, "SETTLE_S", 0.3)
        settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"ram_budget": budget})
        if set_to:
            assert as_alice.post("/api/settings", set_to).status_code == 200
        for name in names:
            Model.objects.create(
                name=name,
                backend="fake",
                directory=str(tmp_path),
                load_at_start=False,
                capabilities=["chat"],
                **{"memory_bytes": 100 * MB, **fields},
            )
        with running_engine_process() as process:
            process.data_path = settings.GATEHOUSE.data_path
            yield process

    return begin


def states():
    return dict(Engine.objects.order_by("model_id").values_list("model_id", "state"))


def message(name):
    return Engine.objects.get(model_id=name).message


def until(check, timeout_s=20):
    deadline = time.monotonic() + timeout_s
    while not (found := check()):
        assert time.monotonic() < deadline, list(Engine.objects.values())
        time.sleep(0.02)
    return found


def body(**stub):
    return {"model": "m", "messages": [{"role": "user", "content": "x"}], "stub": stub}


class Stream:
    """A caller of an engine's own socket, who reads to the end."""

    def __init__(self, data_path, name, **stub):
        raw = orjson.dumps({**body(**stub), "stream": True})
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: e\r\ncontent-length: %d\r\n\r\n"
        self.got = b""
        self.connection = sockets.socket(sockets.AF_UNIX)
        self.connection.settimeout(30)
        self.connection.connect(str(socket_for(name, data_path)))
        self.connection.sendall(head % len(raw) + raw)
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        while piece := self.connection.recv(65536):
            self.got += piece
            if piece.endswith(b"0\r\n\r\n"):
                break
        self.connection.close()

    def all(self):
        self.thread.join(30)
        return self.got


@slow
@database
def test_the_idle_one_leaves_for_another_and_one_in_use_never_does(as_alice, start):
    """R-31, SET:lru_eviction_max_retries, SET:lru_eviction_retry_interval."""
    with start() as process:
        for name in "ab":
            assert as_alice.post(LOAD, {"model": name}).status_code == 200
        busy = Stream(process.data_path, "a", tokens=40, tick=0.1)

        assert as_alice.post(LOAD, {"model": "c"}).status_code == 200

        assert states() == {"a": "ready", "b": "stopped", "c": "ready"}
        assert message("b") == "unloaded to make room for c"
        other = Stream(process.data_path, "c", tokens=60, tick=0.1)
        answer = as_alice.post(LOAD, {"model": "b"}, prefer="wait=0")
        assert answer.status_code == 202
        waits = until(lambda: states()["b"] == EngineState.STARTING and message("b"))
        assert waits == "needs 100.0 MB, 50.0 MB is free within the budget of 250.0 MB (RAM)"
        until(lambda: states()["b"] == "ready")
        assert states()["a"] == "stopped"  # its caller had ended by then
        assert b"[DONE]" in busy.all()
        assert b"[DONE]" in other.all()


@slow
@database
def test_callers_of_three_models_in_room_for_two_are_all_served(start, tmp_path):
    """Eviction under load: nobody is cut off, and never are more loaded than have room."""
    most = []

    def watch(stop):
        while not stop.is_set():
            loaded = Engine.objects.exclude(state__in=["stopped", "failed"]).exclude(pid=None)
            most.append(loaded.count())
            time.sleep(0.05)
        connections.close_all()

    with start():
        stop = threading.Event()
        watcher = threading.Thread(target=watch, args=(stop,))
        watcher.start()
        try:
            found = asyncio.run(all_three(tmp_path))
        finally:
            stop.set()
            watcher.join(10)

    assert found == {200: 36}
    assert max(most) == 2


async def all_three(folder):
    """Twelve callers of the lane's own work, over an engine table that follows the database."""
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

    async def client(name):
        for _ in range(3):
            given = {**body(tokens=3, tick=0.05), "model": name}
            call, answer = rig.call("chat-completions", given, prefer="wait=100")
            try:
                await infer(call, answer, rig.runtime, ENDPOINTS["chat-completions"])
                found[answer.status] += 1
            except GatehouseError as exc:
                found[str(exc)] += 1

    await asyncio.gather(*(client(name) for name in "abc" * 4))
    follows.cancel()
    await rig.runtime.finish()
    return found


@slow
@database
def test_what_cannot_fit_says_what_it_needs(as_alice, as_bob, start):
    with start(names="ab") as _:
        Model.objects.filter(pk="a").update(pinned=True)
        assert as_alice.post(LOAD, {"model": "a"}).status_code == 200
        Model.objects.filter(pk="b").update(memory_bytes=200 * MB)

        answer = as_alice.post(LOAD, {"model": "b"})

        words = "needs 200.0 MB, 150.0 MB is free within the budget of 250.0 MB (RAM)"
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        assert words in answer.json()["error"]["message"]
        assert states() == {"a": "ready", "b": "stopped"}
        answer = as_bob.post(CHAT, {**body(), "model": "b"})
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        assert words in answer.json()["error"]["message"]


@slow
@database
def test_set_lru_eviction_max_retries_bounds_the_waiting_for_one_that_is_busy(as_alice, start):
    """SET:lru_eviction_max_retries, SET:lru_eviction_retry_interval."""
    few = {"lru_eviction_max_retries": 1, "lru_eviction_retry_interval": "100ms"}
    with start("150MB", "ab", few) as process:
        as_alice.post(LOAD, {"model": "a"})
        busy = Stream(process.data_path, "a", tokens=60, tick=0.1)

        answer = as_alice.post(LOAD, {"model": "b"})

        assert answer.status_code == 503
        assert "needs 100.0 MB, 50.0 MB is free" in answer.json()["error"]["message"]
        assert states()["a"] == "ready"
        assert b"[DONE]" in busy.all()


@slow
@database
def test_set_force_eviction_when_busy_takes_out_one_in_use(as_alice, start):
    """SET:force_eviction_when_busy."""
    with start("150MB", "ab", {"force_eviction_when_busy": True}) as process:
        as_alice.post(LOAD, {"model": "a"})
        busy = Stream(process.data_path, "a", tokens=1000, tick=0.1)

        assert as_alice.post(LOAD, {"model": "b"}).status_code == 200

        assert states() == {"a": "stopped", "b": "ready"}
        assert b"[DONE]" not in busy.all()


@slow
@database
@pytest.mark.parametrize("given", [{"max_active_backends": 1}, {"single_backend": True}])
def test_set_max_active_backends_holds_for_loads_and_for_what_is_loaded(as_alice, start, given):
    """SET:max_active_backends, SET:single_backend."""
    with start("", "ab", {"watchdog_interval": "200ms"}):
        for name in "ab":
            assert as_alice.post(LOAD, {"model": name}).status_code == 200
        assert list(states().values()) == ["ready", "ready"]

        as_alice.post("/api/settings", given)
        until(lambda: sorted(states().values()) == ["ready", "stopped"])
        gone = next(name for name, state in states().items() if state == "stopped")
        assert message(gone) == "unloaded: too many models are loaded"

        assert as_alice.post(LOAD, {"model": gone}).status_code == 200
        assert sorted(states().values()) == ["ready", "stopped"]
        assert states()[gone] == "ready"


@slow
@database
def test_set_memory_reclaimer_takes_out_idle_ones_when_memory_runs_full(as_alice, start):
    """SET:memory_reclaimer_enabled, SET:memory_reclaimer_threshold."""
    with start("", "ab", {"watchdog_interval": "200ms"}) as process:
        Model.objects.filter(pk="a").update(pinned=True)
        for name in "ab":
            as_alice.post(LOAD, {"model": name})

        on = {"memory_reclaimer_enabled": True, "memory_reclaimer_threshold": 0.0001}
        as_alice.post("/api/settings", on)
        until(lambda: states()["b"] == "stopped")

        assert message("b") == "unloaded: the memory is nearly full"
        time.sleep(1)
        assert states()["a"] == "ready"
        found = as_alice.get("/api/resources").json()
        assert (found["reclaimer_enabled"], found["reclaimer_threshold"]) == (True, 0.0001)
        assert found["watchdog_interval"] == "200ms"
        assert process is not None


@slow
@database
def test_r31_what_an_engine_takes_is_measured_and_counts_from_then_on(
    as_alice, start, monkeypatch, settings
):
    monkeypatch.setattr(engine_use, "FIRST_S", 0.1)
    with start("5GB", "a", memory_bytes=None):
        assert as_alice.post(LOAD, {"model": "a"}).status_code == 200

        measured = until(lambda: Model.objects.get().memory_bytes)
        told = as_alice.get("/backend/monitor?model=a").json()["memory"]["total"]

        assert 0.7 * told < measured < 1.3 * told
        assert measured < PROCESSES
        Model.objects.update(options={"x": 1})
        until(lambda: Model.objects.get().memory_bytes is None)
        time.sleep(0.5)
        assert Model.objects.get().memory_bytes is None  # what runs was started with others


@slow
@database
def test_at_the_start_nobody_leaves_for_another(as_alice, start):
    with start() as _:
        Model.objects.update(load_at_start=True)
    with running_engine_process():
        until(lambda: sorted(states().values()) == ["ready", "ready", "stopped"])
        time.sleep(0.5)
        assert states() == {"a": "ready", "b": "ready", "c": "stopped"}
        assert message("c").startswith("not loaded: needs 100.0 MB, 50.0 MB is free")

        assert as_alice.post(LOAD, {"model": "c"}).status_code == 200
        assert sorted(states().values()) == ["ready", "ready", "stopped"]


@slow
@database
def test_an_engine_that_cannot_be_made_after_it_waited_may_be_tried_again(as_alice, start):
    with start("", "ab", {"max_active_backends": 1}):
        as_alice.post(LOAD, {"model": "a"})
        Model.objects.filter(pk="b").update(options={"no_such": 1})
        assert as_alice.post(LOAD, {"model": "b"}).status_code == 503
        assert states()["b"] == "failed"

        Model.objects.filter(pk="b").update(options={})
        assert as_alice.post(LOAD, {"model": "b"}).status_code == 200


@slow
@database
def test_replicas_beyond_the_budget_wait_for_room(as_alice, start):
    with start("250MB", "a", replicas=3):
        assert as_alice.post(LOAD, {"model": "a"}).status_code == 200
        rows = Engine.objects.order_by("replica").values_list("state", flat=True)
        until(lambda: list(rows.all()) == ["ready", "ready", "stopped"])
        time.sleep(0.5)
        assert list(rows.all()) == ["ready", "ready", "stopped"]
        (found,) = as_alice.get("/api/engines").json()["engines"]
        assert found["state"] == "ready"
        assert found["replicas"][2]["message"] == "there is no room for this replica"

        Model.objects.update(memory_bytes=80 * MB, replicas=3)
        until(lambda: list(rows.all()) == ["ready"] * 3)
