"""The engines of one model: as many as it has replicas, started, watched and stopped together."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor

from accounts.runtime import env, generations
from core.generations import ENGINES
from inference.log_files import LogWriter, log_folder
from inference.models import Engine, EngineState, Model, says_most
from inference.recipes import Recipe
from inference.supervisor import Runner

log = logging.getLogger("gatehouse.engine")
IDLE_LOOK_S = 10.0
ENDED = {EngineState.STOPPED, EngineState.FAILED}


class Replicas:
    """A runner for each replica of a model; to whom owns it, it is as one runner.

    A replica that falls is its own runner's business, so the others serve on. One too many is
    drained, one too few is started, while the model is loaded.
    """

    def __init__(self, model: Model, recipe: Recipe, probes: ThreadPoolExecutor) -> None:
        self.name = model.name
        self.model = model
        self._recipe = recipe
        self._probes = probes
        self._writer = LogWriter(log_folder(env().data_path, model.name), model.name)
        self._is_wanted = False
        self.runners: list[Runner] = []
        self.follow(model)

    def follow(self, model: Model) -> None:
        """Take over what an admin changed about the model; a running engine keeps its options."""
        self.model = model
        for runner in self.runners:
            runner.follow(model)
        for replica in range(len(self.runners), model.replicas):
            self.runners.append(
                Runner(model, self._recipe, self._probes, replica=replica, writer=self._writer)
            )

    @property
    def state(self) -> str:
        """That of the engine that speaks for the model."""
        return min((runner.state for runner in self.runners), key=says_most)

    @property
    def pids(self) -> set[int | None]:
        """The guardians'."""
        return {runner.pid for runner in self.runners}

    def want(self) -> None:
        """Load the model: start every engine that does not run, also one that gave up."""
        self._is_wanted = True
        for runner in self.runners[: self.model.replicas]:
            runner.want()

    def tick(self) -> None:
        now = time.monotonic()
        for runner in self.runners:
            runner.tick()
        self._fit_number()
        self._watch_idle(now)

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
                    runner.start_anew()

    def _watch_idle(self, now: float) -> None:
        """Unload a model that was told to leave when idle; it comes back on first use."""
        timeout_s = self.model.idle_timeout_s
        serving = [each for each in self.runners if each.state == EngineState.READY]
        if timeout_s is None or not serving:
            return
        for runner in serving:
            runner.use.look(now, min(IDLE_LOOK_S, timeout_s / 2))
        is_idle = all(
            not each.use.n_requests and each.use.known_at - each.use.at >= timeout_s
            for each in serving
        )
        if is_idle:
            log.info("%s was idle for %d s", self.name, timeout_s)
            self.drain("unloaded: it was idle")

    def drain(self, message: str) -> None:
        """Stop once the callers it has are served; nobody new gets in."""
        self._is_wanted = False
        for runner in self.runners:
            if runner.state not in ENDED:
                runner.drain(message)

    def stop(self, message: str = "") -> None:
        """End the engines and say so; several end at the same time."""
        self._is_wanted = False
        self.ask_to_stop()
        for runner in self.runners:
            runner.stop(message)

    def ask_to_stop(self) -> None:
        for runner in self.runners:
            runner.ask_to_stop()
