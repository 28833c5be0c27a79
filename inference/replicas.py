"""The engines of one model: as many as it has replicas, started, watched and stopped together."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count

from accounts.runtime import env, generations
from core.generations import ENGINES
from inference.engine_limits import Limits
from inference.log_files import LogWriter, log_folder
from inference.models import Engine, EngineState, Model, says_most
from inference.recipes import Recipe
from inference.supervisor import DRAIN_LIMIT_S, Runner

log = logging.getLogger("gatehouse.engine")
IDLE_LOOK_S = 10.0
BUSY_GRACE_S = 10.0  # for a request that was ended to leave the engine
CHANGED = 0.02  # a growth in memory that is worth a write
SETTLE_S = 5.0  # longer than `engine_rows.LOAD_RETRY_S`
Admits = Callable[[Runner], bool]
ENDED = {EngineState.STOPPED, EngineState.FAILED}
_variants = count(1)  # for sockets that no engine of this process has or had


class Replicas:
    """A runner for each replica of a model; to whom owns it, it is as one runner.

    A replica that falls is its own runner's business, so the others serve on. One too many is
    drained, one too few is started, while the model is loaded. While its backend is upgraded there is
    one more `beside` them, and those that are `leaving` end their streams (`switching`).
    """

    def __init__(self, model: Model, recipe: Recipe, probes: ThreadPoolExecutor) -> None:
        self.name = model.name
        self.model = model
        self._recipe = recipe
        self._probes = probes
        self._writer = LogWriter(log_folder(env().data_path, model.name), model.name)
        self._is_wanted = False
        self._held_for = ""
        self._told: set[int] = set()
        self._admits: Admits = lambda _: True
        self.limits = Limits()  # set anew by the owner whenever the settings may have changed
        self.runners: list[Runner] = []
        self.beside: Runner | None = None
        self.before: Recipe | None = None  # what the one had whose place that is to take
        self.leaving: list[Runner] = []
        self.follow(model)

    def follow(self, model: Model, recipe: Recipe | None = None) -> None:
        """Take over what was changed about the model or its backend: `recipe` is the one that counts,
        None where that stays. A running engine keeps what it was started with.
        """
        if model.options != self.model.options:
            self.model = model
            self._remember(None)  # it was measured with others
        self.model = model
        self._recipe = recipe or self._recipe
        for runner in self.runners:
            runner.follow(model, recipe or runner.recipe)
        for replica in range(len(self.runners), model.replicas):
            self.runners.append(self._runner(replica, self._recipe))

    def _runner(self, replica: int, recipe: Recipe, *, speaks: bool = True) -> Runner:
        """A new one, with a socket of its own also where there is another of that number."""
        is_second = any(each.replica == replica for each in self.everyone)
        return Runner(
            self.model,
            recipe,
            self._probes,
            replica=replica,
            writer=self._writer,
            variant=next(_variants) if is_second else 0,
            speaks=speaks,
        )

    def another(self, replica: int, recipe: Recipe) -> Runner:
        """One that may take the place of the runner of that number; it says nothing until then."""
        return self._runner(replica, recipe, speaks=False)

    def begin_beside(self, new: Runner) -> None:
        """Start one of `another`."""
        self.beside, self.before = new, self.runners[new.replica].recipe
        new.start()

    def give_up_beside(self) -> None:
        """It is not wanted any more; nobody was served by it."""
        if self.beside is not None:
            self.beside.stop()
            self.beside = self.before = None

    def take_over(self, limit_s: float) -> None:
        """The one beside takes its place; the old one leaves with its last stream, or `limit_s` later."""
        new, self.beside, self.before = self.beside, None, None
        assert new is not None  # noqa: S101  # the caller has just looked
        old, self.runners[new.replica] = self.runners[new.replica], new
        new.take_over()
        old.retire(limit_s)
        self.leaving.append(old)

    def runner(self, replica: int) -> Runner | None:
        """That of this number, where there still is to be one."""
        return self.runners[replica] if replica < self.model.replicas else None

    def see_off(self) -> bool:
        """Forget those that have left; whether there were any."""
        before = len(self.leaving)
        self.leaving = [runner for runner in self.leaving if runner.state not in ENDED]
        return len(self.leaving) < before

    @property
    def everyone(self) -> list[Runner]:
        """Every engine of the model that there is, also those of which the table says nothing."""
        beside = [self.beside] if self.beside is not None else []
        return [*self.runners, *beside, *self.leaving]

    @property
    def state(self) -> str:
        """That of the engine that speaks for the model."""
        return min((runner.state for runner in self.runners), key=says_most)

    @property
    def pids(self) -> set[int | None]:
        """The guardians'."""
        return {runner.pid for runner in self.everyone}

    @property
    def has_ended(self) -> bool:
        """Whether nobody is served by any engine of it."""
        return self.state in ENDED and not self.leaving

    @property
    def is_held(self) -> bool:
        """Whether it waits for room."""
        return self.runners[0].is_held

    @property
    def is_loaded(self) -> bool:
        """Whether any engine of it takes memory."""
        return any(runner.takes_memory for runner in self.everyone)

    @property
    def is_leaving(self) -> bool:
        """Whether what it takes is about to be free."""
        busy = [runner for runner in self.everyone if runner.takes_memory]
        return bool(busy) and all(runner.state == EngineState.DRAINING for runner in busy)

    @property
    def used_at(self) -> float:
        """When it was last known to be used (`time.monotonic`)."""
        return max(runner.use.at for runner in self.runners)

    def is_idle_since(self, moment: float) -> bool:
        """Whether all its engines told after `moment` that they have no request."""
        states = {runner.state for runner in self.everyone if runner.takes_memory}
        return states <= {EngineState.READY, EngineState.WAITING} and all(
            runner.use.known_at >= moment and not runner.use.n_requests
            for runner in self.runners
            if runner.state == EngineState.READY
        )

    def is_settled(self, now: float) -> bool:
        """Whether who was told to come again while it loaded had the time to."""
        return all(
            runner.state != EngineState.STARTING and now - runner.use.began_at >= SETTLE_S
            for runner in self.runners
            if runner.takes_memory
        )

    def look(self, now: float, every_s: float) -> None:
        """Ask the engines that serve what they are doing, where the last time is `every_s` ago."""
        for runner in self.runners:
            if runner.state == EngineState.READY:
                runner.use.look(now, every_s)

    def measure(self, now: float) -> None:
        """Measure what the engines take; the most that one took is remembered with the model."""
        most = 0
        for runner in self.runners:
            if runner.state == EngineState.READY:
                runner.footprint.look(now, runner.pid)
                if runner.started_with == self.model.options:
                    most = max(most, runner.footprint.bytes)
        known = self.model.memory_bytes or 0
        if most > known * (1 + CHANGED):  # less is what it takes until its cache fills again
            self._remember(most)

    def _remember(self, memory_bytes: int | None) -> None:
        self.model.memory_bytes = memory_bytes
        Model.objects.filter(pk=self.name).update(memory_bytes=memory_bytes)

    def hold(self, message: str) -> None:
        """Wait for room: nothing is started, callers are told what is waited for."""
        if self.runners[0].is_held and message == self._held_for:
            return
        self._held_for = message
        self.runners[0].hold(message)

    def release(self, message: str) -> None:
        """Stop waiting for room; the next caller tries again."""
        self.runners[0].stop(message)

    def want(self, admits: Admits = lambda _: True) -> None:
        """Load the model: start every engine that does not run, also one that gave up.

        One that `admits` has no room for is started when there is.
        """
        self._is_wanted, self._admits = True, admits
        self._told.clear()
        for runner in self.runners[: self.model.replicas]:
            if runner.takes_memory or admits(runner):
                runner.want()

    def tick(self) -> None:
        now = time.monotonic()
        for runner in self.everyone:
            runner.tick()
        self._fit_number()
        self._watch_idle(now)
        self._watch_busy(now)

    def _fit_number(self) -> None:
        """As many engines as the model has replicas now."""
        for runner in self.runners[self.model.replicas :]:
            if runner.state not in ENDED | {EngineState.DRAINING}:
                runner.drain("one replica fewer")
        while len(self.runners) > self.model.replicas and self.runners[-1].state in ENDED:
            gone = self.runners.pop()
            Engine.objects.filter(model_id=self.name, replica=gone.replica).delete()
            generations().bump(ENGINES)
        if self._is_wanted:
            for runner in self.runners[: self.model.replicas]:
                if runner.state == EngineState.STOPPED:
                    self._start_if_admitted(runner)

    def _start_if_admitted(self, runner: Runner) -> None:
        """A replica without room says so once, and starts when there is."""
        if self._admits(runner):
            self._told.discard(runner.replica)
            runner.start_anew()
        elif runner.replica not in self._told:
            self._told.add(runner.replica)
            runner.say("there is no room for this replica")

    def _watch_idle(self, now: float) -> None:
        """Unload a model that was told to leave when idle; it comes back on first use.

        What counts is its own time, else that of the settings, which is not for pinned ones.
        """
        timeout_s: float | None = self.model.idle_timeout_s
        if timeout_s is None and not self.model.pinned:
            timeout_s = self.limits.idle_s
        serving = [each for each in self.runners if each.state == EngineState.READY]
        if timeout_s is None or not serving or self.beside is not None or self.leaving:
            return
        for runner in serving:
            runner.use.look(now, min(IDLE_LOOK_S, timeout_s / 2))
        is_idle = self.is_settled(now) and all(
            not each.use.n_requests and each.use.known_at - each.use.at >= timeout_s
            for each in serving
        )
        if is_idle:
            log.info("%s was idle for %d s", self.name, timeout_s)
            self.drain("unloaded: it was idle")

    def _watch_busy(self, now: float) -> None:
        """Start an engine over that stays busy and ends no request, although the workers have ended
        those that ran too long (R-33).
        """
        if self.limits.busy_s is None:
            return
        longest_s = self.limits.busy_s + max(BUSY_GRACE_S, 3 * self.limits.interval_s)
        for runner in (*self.runners, *self.leaving):
            is_leaving = runner in self.leaving
            if runner.state == EngineState.READY or is_leaving:
                runner.use.look(now, self.limits.interval_s)
                stuck_s = runner.use.known_at - runner.use.done_at
                if runner.use.n_requests and stuck_s > longest_s:
                    why = f"it was busy for {stuck_s:.0f} s without ending a request"
                    (runner.stop if is_leaving else runner.start_over)(why)

    def drain(self, message: str, *, limit_s: float | None = None) -> None:
        """Stop once the callers it has are served; nobody new gets in."""
        self._is_wanted = False
        self.give_up_beside()
        for runner in self.runners:
            if runner.is_switching and runner.state == EngineState.STOPPED:
                runner.stop(message)  # nobody has to wait for it to come back
            elif runner.state not in ENDED:
                before = [each for each in self.leaving if each.replica == runner.replica]
                runner.drain(message, limit_s, before)
        for runner in self.leaving:
            runner.hurry(DRAIN_LIMIT_S if limit_s is None else limit_s)

    def stop(self, message: str = "") -> None:
        """End the engines and say so; several end at the same time."""
        self._is_wanted = False
        self.ask_to_stop()
        for runner in self.everyone:
            runner.stop(message)
        self.beside, self.before, self.leaving = None, None, []

    def ask_to_stop(self) -> None:
        for runner in self.everyone:
            runner.ask_to_stop()
