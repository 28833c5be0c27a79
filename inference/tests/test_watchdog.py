"""The watchdogs (R-33, surface section 5): idle models leave, requests that run too long are ended."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from accounts.runtime import stored_settings
from core.errors import EngineTimeoutError, GatehouseError
from inference import replicas, supervisor
from inference.busy_watchdog import BusyWatchdog
from inference.engine_limits import Limits, limits_in_force, request_limit
from inference.engine_use import BEGUN, DONE, RUNNING, Use
from inference.models import Engine, EngineState, Model
from inference.replicas import Replicas
from inference.tests.fake_backend import STUB, backend, running_engine_process, use_fake_backend
from inference.tests.rig import CHAT, Rig

URL = "/api/settings"
slow = pytest.mark.slow
database = pytest.mark.django_db(transaction=True)
STUCK = """
import socketserver, sys
class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        self.rfile.readline()
        body = b"vllm:num_requests_running 1.0\\nvllm:request_success_total 7.0\\n"
        self.wfile.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(body) + body)
socketserver.ThreadingUnixStreamServer(sys.argv[1], Answer).serve_forever()
"""


@pytest.fixture
async def rig(tmp_path, stub):
    made = Rig(tmp_path, stub.url)
    yield made
    await made.runtime.finish()


def ask(rig, **stub):
    given = {**CHAT, "stub": stub}
    return asyncio.create_task(rig.ask("chat-completions", given))


async def test_r33_the_request_that_ran_longest_is_ended_first_and_the_engine_gives_it_up(
    rig, stub
):
    table = rig.runtime.engines
    watchdog = BusyWatchdog(table, lambda: (0.3, 0.05))
    first = ask(rig, hang=True)
    await asyncio.sleep(0.2)
    second, short = ask(rig, hang=True), ask(rig, tick=0.25)
    await asyncio.sleep(0.15)

    watchdog.look(0.3)
    with pytest.raises(EngineTimeoutError, match="longer than is allowed"):
        await first
    assert not second.done()
    assert (await short)[0] == 200
    await asyncio.sleep(0.2)
    assert stub.state()["aborted"] == 1

    watchdog.look(0.3)
    with pytest.raises(EngineTimeoutError):
        await second
    assert sorted(event["st"] for event in rig.events()) == [200, 504, 504]
    assert table._desks[stub.url].places.held == 0


async def test_r33_a_stream_that_is_ended_says_so_and_is_in_the_books(rig, stub):
    body = {**CHAT, "stream": True, "stub": {"tokens": 1000, "tick": 0.02}}
    task = asyncio.create_task(rig.ask("chat-completions", body))
    await asyncio.sleep(0.4)

    BusyWatchdog(rig.runtime.engines, lambda: (0.3, 1.0)).look(0.3)

    with pytest.raises(GatehouseError):
        await task
    (event,) = rig.events()
    assert event["st"] == 504
    assert event["c"] > 5


async def test_a_connection_that_is_kept_for_the_next_request_is_left_alone(rig, stub):
    for _ in range(2):
        assert (await rig.ask("chat-completions", CHAT))[0] == 200
    await asyncio.sleep(0.1)

    assert rig.runtime.engines.abort_longest(0.01) == []
    assert len(rig.runtime.engines._desks[stub.url].client._open) == 1


async def test_r33_limits_are_those_of_the_moment(rig, stub):
    limits = [(None, 0.05)]
    task = asyncio.create_task(BusyWatchdog(rig.runtime.engines, lambda: limits[0]).follow())
    hung = ask(rig, hang=True)
    await asyncio.sleep(0.6)
    assert not hung.done()

    limits[0] = (0.1, 0.05)
    with pytest.raises(EngineTimeoutError):
        await asyncio.wait_for(hung, 3)
    task.cancel()


@pytest.fixture
def make(settings, tmp_path, monkeypatch, db):
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"data_path": tmp_path})
    monkeypatch.setattr(supervisor, "BACKOFF_S", (0.05,) * 5)
    monkeypatch.setattr(replicas, "BUSY_GRACE_S", 0.2)
    for name in ("PROBE_STARTING_S", "PROBE_READY_S"):
        monkeypatch.setattr(supervisor, name, 0.05)
    stored_settings().fresh()
    made = []
    with ThreadPoolExecutor(4) as probes:

        def begin(program):
            row = Model.objects.create(name="m", backend="fake", directory=str(tmp_path))
            made.append(Replicas(row, backend(program), probes))
            made[-1].want()
            return made[-1]

        yield begin
        for engines in made:
            engines.stop()


def until(check, timeout_s=20, engines=None):
    deadline = time.monotonic() + timeout_s
    while not (found := check()):
        assert time.monotonic() < deadline, list(Engine.objects.values())
        if engines is not None:
            engines.tick()
        time.sleep(0.02)
    return found


@slow
@database
def test_r33_an_engine_that_stays_busy_is_started_over(make):
    engines = make(STUCK)
    engines.limits = Limits(busy_s=0.3, interval_s=0.1)
    until(lambda: engines.state == EngineState.READY, engines=engines)
    pid = engines.runners[0].pid

    until(lambda: engines.state == EngineState.WAITING, engines=engines)

    assert "without ending a request" in Engine.objects.get().message
    assert not psutil.pid_exists(pid)
    until(lambda: engines.state == EngineState.READY, engines=engines)


@slow
@database
def test_r33_an_idle_engine_is_not_taken_for_a_stuck_one(make):
    engines = make(STUB)
    engines.limits = Limits(busy_s=0.1, interval_s=0.1)
    until(lambda: engines.state == EngineState.READY, engines=engines)
    pid, later = engines.runners[0].pid, time.monotonic() + 2

    until(lambda: time.monotonic() > later, engines=engines)

    assert (engines.state, engines.runners[0].pid) == (EngineState.READY, pid)


def test_r33_an_engine_that_gives_up_what_is_aborted_is_not_taken_for_a_stuck_one():
    """vLLM counts those nowhere, and others may have come in their place."""
    use = Use(None, None)
    use.begin(0.0)
    for second in range(100):  # sixty at a time; every second one is aborted and one begins
        use._asked_at = float(second)
        use._take({RUNNING: 60.0, DONE: 7.0, BEGUN: 60.0 + second})
    assert use.known_at - use.done_at == 0

    for second in range(100, 200):  # and now it hangs
        use._asked_at = float(second)
        use._take({RUNNING: 60.0, DONE: 7.0, BEGUN: 159.0})
    assert use.known_at - use.done_at == 100


@slow
@database
def test_set_watchdog_idle_timeout_unloads_what_nobody_uses_but_pinned_ones(
    as_alice, settings, monkeypatch, tmp_path
):
    """SET:watchdog_enabled, SET:watchdog_idle_enabled, SET:watchdog_idle_timeout, SET:watchdog_interval."""
    monkeypatch.setattr(replicas, "SETTLE_S", 0.3)
    use_fake_backend(settings, monkeypatch, tmp_path, backend())
    for name, more in (("a", {}), ("p", {"pinned": True}), ("own", {"idle_timeout_s": 600})):
        Model.objects.create(name=name, backend="fake", directory=str(tmp_path), **more)
    with running_engine_process():
        names = Engine.objects.filter(state="ready").values_list("model_id", flat=True)
        until(lambda: set(names.all()) == {"a", "p", "own"})
        time.sleep(0.5)
        given = {"watchdog_idle_enabled": True, "watchdog_idle_timeout": "1s"}
        assert as_alice.post(URL, given).status_code == 200

        until(lambda: Engine.objects.get(model_id="a").state == EngineState.STOPPED)
        time.sleep(1)

        assert set(names.all()) == {"p", "own"}
        assert Engine.objects.get(model_id="a").message == "unloaded: it was idle"
        assert as_alice.post("/backend/load", {"model": "a"}).status_code == 200


@database
def test_set_watchdog_busy_timeout_counts_while_both_switches_are_on(as_alice):
    """SET:watchdog_busy_enabled, SET:watchdog_busy_timeout, SET:watchdog_interval."""
    stored_settings().fresh()
    assert request_limit() == (None, 2.0)
    given = {"watchdog_busy_enabled": True, "watchdog_busy_timeout": "90s"}
    as_alice.post(URL, {**given, "watchdog_interval": "500ms"})
    stored_settings().fresh()
    assert request_limit() == (90.0, 0.5)
    assert limits_in_force().busy_s == 90.0

    as_alice.post(URL, {"watchdog_enabled": False})
    stored_settings().fresh()
    assert request_limit()[0] is None
    assert (limits_in_force().busy_s, limits_in_force().idle_s) == (None, None)
