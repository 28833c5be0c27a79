"""Bringing engines over to another version of their backend, without dropping a request (R-33).

An engine whose backend was upgraded goes on serving. Where memory allows, one of the new version
starts beside it; once that is ready callers go there, and the old one ends when the last of its own
was served. Where memory does not allow it, the old one is drained first and callers are held. A new
version that does not start leaves the old one serving.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count

from inference.backends_here import make_current, remove_replaced
from inference.engine_facts import memory_of
from inference.machine import gpu_memory_by_pid, gpus, memory
from inference.models import SWITCHING, EngineState, Model
from inference.recipes import Recipe
from inference.supervisor import Runner, publish

log = logging.getLogger("gatehouse.engine")
# A stream may take that long; the old engine costs memory meanwhile, and nothing else.
RETIRE_LIMIT_S = 900.0
SPARE = 512 * 1024 * 1024
_DOWN = (EngineState.STOPPED, EngineState.FAILED)
Runners = dict[str, Runner]


class Switches:
    """What is under way. `follow` and `tick` are called by the one thread that owns the runners."""

    def __init__(self, probes: ThreadPoolExecutor) -> None:
        self._probes = probes
        self._beside: Runners = {}
        self._leaving: list[Runner] = []
        self._awaited: dict[str, Recipe] = {}
        self._refused: set[tuple[str, str]] = set()
        self._numbers = count(1)

    def follow(self, runners: Runners, row: Model, recipe: Recipe | None) -> None:
        """Look whether the version that counts is another one than the engine's own."""
        runner = runners[row.name]
        if recipe is None:
            if runner.state in _DOWN:  # its backend was deleted
                runners.pop(row.name).stop()
                Model.objects.filter(pk=row.name).update(unload_asked_at=None)
        elif recipe == runner.recipe:
            self._give_up_beside(row.name, recipe)
            self._refused = {each for each in self._refused if each[0] != row.name}
        elif (row.name, recipe.digest) in self._refused:
            return
        elif runner.state in _DOWN:
            self._replace(runners, row, recipe)
        elif row.name in self._beside or runner.state == EngineState.DRAINING:
            self._give_up_beside(row.name, recipe)
        elif runner.state != EngineState.READY:  # nobody is served by it
            runner.stop(SWITCHING)
            self._replace(runners, row, recipe).start()
        elif has_room_beside(runner):
            log.info("%s: version %s starts beside the old one", row.name, recipe.version)
            self._beside[row.name] = Runner(
                row, recipe, self._probes, beside=runner, socket_name=self._another(row.name)
            )
            self._beside[row.name].start()
        else:
            log.info("%s: stops, to start again with version %s", row.name, recipe.version)
            self._awaited[row.name] = recipe
            runner.drain(SWITCHING)

    def _replace(self, runners: Runners, row: Model, recipe: Recipe) -> Runner:
        has_usual = any(each.name == row.name for each in self._leaving)
        name = self._another(row.name) if has_usual else ""
        runner = runners[row.name] = Runner(row, recipe, self._probes, socket_name=name)
        if self._awaited.pop(row.name, None) is not None:
            runner.start(SWITCHING)
        return runner

    def _another(self, name: str) -> str:
        """A name of a socket that no engine of this process has or had."""
        return f"{name} {next(self._numbers)}"

    def _give_up_beside(self, name: str, recipe: Recipe) -> None:
        """One that starts for a version that does not count any more is not wanted."""
        if name in self._beside and self._beside[name].recipe != recipe:
            self._beside.pop(name).stop()

    def tick(self, runners: Runners) -> None:
        for name, new in list(self._beside.items()):
            old = runners.get(name)
            if old is None or old.state in _DOWN:  # unloaded, or deleted: nothing to bring over
                self._beside.pop(name).stop()
                continue
            new.tick()
            if new.state == EngineState.READY:
                self._take_over(runners, name)
            elif new.state != EngineState.STARTING:
                self._refuse(runners, name, new)
        for runner in list(self._leaving):
            runner.tick()
            if runner.name not in runners:  # its model was deleted or disabled
                runner.stop()
            if runner.state in _DOWN:
                self._leaving.remove(runner)
                self.tidy(runners)

    def _take_over(self, runners: Runners, name: str) -> None:
        old, new = runners[name], self._beside.pop(name)
        runners[name] = new
        new.take_over()
        old.retire(limit_s=RETIRE_LIMIT_S)
        self._leaving.append(old)
        log.info("%s: version %s has taken over", name, new.recipe.version)

    def _refuse(self, runners: Runners, name: str, new: Runner) -> None:
        """The version before serves on, and counts again where no other engine has the new one."""
        self._beside.pop(name).stop()
        self._refused.add((name, new.recipe.digest))
        if not any(each.recipe == new.recipe for each in runners.values()):
            with suppress(OSError):  # a full disk is no reason to end the engines
                make_current(runners[name].recipe)
        why = f"version {new.recipe.version} of its backend does not start; this is the one before"
        log.error("%s: %s", name, why)
        publish(name, message=why)

    def pids(self) -> set[int | None]:
        return {each.pid for each in (*self._beside.values(), *self._leaving)}

    def ask_to_stop(self) -> None:
        for runner in (*self._beside.values(), *self._leaving):
            runner.ask_to_stop()

    def stop(self) -> None:
        for runner in (*self._beside.values(), *self._leaving):
            runner.stop()

    def tidy(self, runners: Runners) -> None:
        """Remove versions that were replaced and that no engine of ours has any more."""
        all_of_them = (*runners.values(), *self._beside.values(), *self._leaving)
        remove_replaced({(each.recipe.name, each.recipe.digest) for each in all_of_them})


def has_room_beside(runner: Runner) -> bool:
    """Whether a second engine of the size of this one fits beside it; no where nobody can say."""
    measured = memory_of(runner.pid, gpu_memory_by_pid())
    if memory()["available"] < measured.total + SPARE:
        return False
    cards = gpus() if "nvidia" in runner.recipe.hardware else []
    if not cards:
        return True
    return bool(measured.gpu) and any(c.free_vram >= measured.gpu + SPARE for c in cards)
