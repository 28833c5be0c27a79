"""Whose turn it is where memory is short (R-31): no process is started, time is the test's."""

from types import SimpleNamespace

import pytest

from inference import room as rooms
from inference.engine_limits import Limits
from inference.models import EngineState
from inference.replicas import SETTLE_S, Replicas
from inference.room import RAM, Room

S = EngineState


class Fake:
    """The engines of a model, as far as the room asks them; `said` is what became of it."""

    is_settled = Replicas.is_settled
    is_loaded = Replicas.is_loaded
    is_leaving = Replicas.is_leaving

    def __init__(self, name, need=100, state=S.STOPPED):
        self.name, self.need, self.state, self.is_held = name, need, state, False
        self.model = SimpleNamespace(pinned=False)
        self.said, self.idle = "", True
        self.used_at = 0.0
        runner = SimpleNamespace(
            on_card=False, pool=RAM, card=None, replica=0, use=SimpleNamespace(began_at=-1000.0)
        )
        runner.needed_bytes = lambda _total: need
        self.runners = [runner]
        self._show()

    def _show(self):
        self.runners[0].state = self.state
        self.runners[0].takes_memory = not self.is_held and self.state not in {S.STOPPED, S.FAILED}

    def go(self, state, said="", *, held=False):
        self.state, self.said, self.is_held = state, said, held
        self._show()

    @property
    def everyone(self):
        return self.runners

    def is_idle_since(self, _moment):
        return self.idle and self.state == S.READY

    def look(self, now, every_s):
        pass

    def measure(self, now):
        pass

    def hold(self, message):
        self.go(S.STARTING, message, held=True)

    def release(self, message):
        self.go(S.STOPPED, message)

    def want(self, admits):
        assert admits(self.runners[0])
        self.go(S.STARTING)

    def drain(self, message, *, limit_s=None):
        self.go(S.DRAINING if self.state == S.READY else S.STOPPED, message)


@pytest.fixture
def clock(monkeypatch):
    made = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(rooms, "time", SimpleNamespace(monotonic=lambda: made.now))
    return made


def room_for(budget, *models, **limits):
    made = Room({each.name: each for each in models}, totals=lambda: {RAM: 10_000})
    made.limits = Limits(ram_budget=str(budget), **limits)
    return made


def pass_time(room, clock, seconds):
    for _ in range(int(seconds * 10)):
        clock.now += 0.1
        room.tick()


def test_set_lru_eviction_max_retries_0_still_lets_an_idle_one_leave(clock):
    """SET:lru_eviction_max_retries: none is about those in use; an idle one first has to be asked."""
    a, b = Fake("a", state=S.READY), Fake("b")
    a.idle = False  # nobody asked it yet
    room = room_for(100, a, b, max_retries=0)
    room.want(b)
    a.idle = True
    pass_time(room, clock, 1)
    assert (a.state, a.said) == (S.DRAINING, "unloaded to make room for b")

    a.go(S.READY)
    a.idle = False
    pass_time(room, clock, 5)
    assert b.state == S.STOPPED
    assert b.said.startswith("needs")


def test_set_lru_eviction_retry_interval_counts_for_those_who_wait_already(clock):
    """SET:lru_eviction_retry_interval: one that was set too long by mistake is corrected at once."""
    a, b = Fake("a", state=S.READY), Fake("b")
    a.idle = False
    room = room_for(100, a, b, retry_interval_s=1e9)
    room.want(b)
    pass_time(room, clock, 4)
    a.idle = True
    pass_time(room, clock, 4)
    assert (a.state, b.is_held) == (S.READY, True)

    room.limits = Limits(ram_budget="100", retry_interval_s=1.0)
    pass_time(room, clock, 1)
    assert a.state == S.DRAINING


def test_set_force_eviction_when_busy_does_not_take_out_one_that_loads(clock):
    """SET:force_eviction_when_busy: two models with callers would end each other's loading for ever."""
    a, b = Fake("a", state=S.STARTING), Fake("b")
    room = room_for(100, a, b, force_when_busy=True)
    room.want(b)
    pass_time(room, clock, 10)
    assert (a.state, b.is_held) == (S.STARTING, True)

    a.go(S.READY)
    a.idle, a.runners[0].use.began_at = False, clock.now
    pass_time(room, clock, SETTLE_S - 0.5)
    assert a.state == S.READY
    pass_time(room, clock, 2)
    assert a.state == S.DRAINING


def test_one_that_has_just_loaded_stays_until_who_was_told_to_come_again_has_come(clock):
    a, b = Fake("a", state=S.READY), Fake("b")
    a.runners[0].use.began_at = clock.now
    room = room_for(100, a, b)
    room.want(b)
    pass_time(room, clock, SETTLE_S - 0.5)
    assert (a.state, b.is_held) == (S.READY, True)
    pass_time(room, clock, 2)
    assert a.state == S.DRAINING


def test_room_that_is_being_made_for_one_is_taken_by_nobody_else(clock):
    """The callers of one that left ask for it again at once: it comes after who it left for."""
    a, b, large = Fake("a", state=S.READY), Fake("b", state=S.READY), Fake("large", need=200)
    room = room_for(200, a, b, large)
    room.want(large)
    assert (a.state, b.state) == (S.DRAINING, S.DRAINING)

    a.go(S.STOPPED)
    room.want(a)  # 100 are free
    pass_time(room, clock, 1)
    assert (a.is_held, large.is_held) == (True, True)
    b.go(S.STOPPED)
    room.want(b)
    pass_time(room, clock, 0.5)
    assert (large.state, large.is_held) == (S.STARTING, False)
    assert (a.is_held, b.is_held) == (True, True)


def test_who_waits_without_room_being_made_holds_up_nobody(clock):
    a, large, small = Fake("a", state=S.READY), Fake("large", need=200), Fake("small")
    a.idle = False
    room = room_for(200, a, large, small)
    room.want(large)
    room.want(small)
    pass_time(room, clock, 0.5)
    assert (large.is_held, small.state, small.is_held) == (True, S.STARTING, False)


def test_a_further_replica_comes_after_a_model_that_waits(clock):
    a, b = Fake("a", state=S.READY), Fake("b", need=200)
    a.idle = False
    room = room_for(200, a, b)
    further = SimpleNamespace(**{**vars(a.runners[0]), "replica": 1, "takes_memory": False})
    assert room.admits(further)
    room.want(b)
    assert not room.admits(further)
