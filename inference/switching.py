"""Bringing engines over to another version of their backend, without dropping a request (R-33).

An engine whose backend was upgraded goes on serving. Where there is room, one of the new version
starts beside it; once that is ready callers go there, and the old one ends when the last of its own
was served. Where there is none, the old one is drained first, and callers are held unless another
replica serves. The engines of one model go over one after the other. A new version that does not
start leaves the old one serving.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress

from inference.backends_here import make_current, remove_replaced
from inference.engine_facts import memory_of
from inference.machine import gpu_memory_by_pid, gpus, memory
from inference.models import SWITCHING, EngineState, Model
from inference.recipes import Recipe
from inference.replicas import Replicas
from inference.room import Room
from inference.supervisor import Runner

log = logging.getLogger("gatehouse.engine")
# A stream may take that long; the old engine costs memory meanwhile, and nothing else.
RETIRE_LIMIT_S = 900.0
SPARE = 512 * 1024 * 1024
_FELL = {EngineState.WAITING, EngineState.FAILED}


class Switches:
    """What is under way among `models`. `follow` and `tick` are called by the one thread that owns them."""

    def __init__(self, models: Mapping[str, Replicas], room: Room) -> None:
        self._models = models
        self._room = room
        self._refused: dict[str, str] = {}  # a model's name -> the digest that does not start
        self._in_place: dict[Runner, Recipe] = {}  # drained to start anew -> what it had before

    def follow(self, engines: Replicas, row: Model, recipe: Recipe | None) -> None:
        """Take over the row; begin to bring engines over where another version counts than theirs.

        `recipe` is None where the backend is not installed: what runs goes on.
        """
        if recipe is not None and self._refused.get(engines.name) == recipe.digest:
            recipe = None
        engines.follow(row, recipe)
        if recipe is None:
            return
        if engines.beside is not None and engines.beside.recipe != recipe:
            engines.give_up_beside()
        behind = [each for each in engines.runners[: row.replicas] if each.recipe != recipe]
        if not behind:
            self._refused.pop(engines.name, None)
        elif engines.beside is None and not any(map(self._is_under_way, engines.runners)):
            self._begin(engines, behind, recipe)

    def _is_under_way(self, runner: Runner) -> bool:
        return runner.is_switching or runner in self._in_place

    def _begin(self, engines: Replicas, behind: list[Runner], recipe: Recipe) -> None:
        for runner in behind:
            if runner.state == EngineState.STARTING:  # nobody is served by it yet
                runner.stop(SWITCHING)
                return
        old = next((each for each in behind if each.state == EngineState.READY), None)
        if old is None:
            return
        new = engines.another(old.replica, recipe)
        if self._room.admits(new) and has_room_beside(old, new.card):
            log.info("%s: version %s starts beside the old one", engines.name, recipe.version)
            engines.begin_beside(new)
        else:
            log.info("%s: stops, to start again with version %s", engines.name, recipe.version)
            self._in_place[old] = old.recipe
            old.drain(SWITCHING)

    def tick(self) -> None:
        for engines in self._models.values():
            if engines.beside is not None:
                self._watch_beside(engines, engines.beside)
        for runner, before in list(self._in_place.items()):
            self._watch_in_place(runner, before)
        if [engines for engines in self._models.values() if engines.see_off()]:
            self.tidy()

    def _watch_beside(self, engines: Replicas, new: Runner) -> None:
        old = engines.runner(new.replica)
        if old is None or old.state in {EngineState.STOPPED, EngineState.DRAINING}:
            engines.give_up_beside()  # there is nothing to bring over any more
        elif old.state == EngineState.READY and old.recipe == new.recipe:
            engines.give_up_beside()  # it fell, and came back with the new version
        elif new.state == EngineState.READY:
            engines.take_over(RETIRE_LIMIT_S)
            log.info("%s: version %s has taken over", engines.name, new.recipe.version)
        elif new.state != EngineState.STARTING:
            # the old one may have fallen meanwhile, and follow the new version
            before = engines.before or old.recipe
            engines.give_up_beside()
            self._refuse(engines, old, new.recipe, before)

    def _watch_in_place(self, runner: Runner, before: Recipe) -> None:
        engines = self._models.get(runner.name)
        if engines is None or runner not in engines.runners:
            del self._in_place[runner]
        elif runner.state in _FELL and runner.recipe != before:
            del self._in_place[runner]
            self._refuse(engines, runner, runner.recipe, before)
            runner.is_switching = True
            runner.start_anew()
        elif not runner.is_switching and runner.state != EngineState.DRAINING:
            del self._in_place[runner]  # it serves, or was told to stop meanwhile

    def _refuse(self, engines: Replicas, runner: Runner, refused: Recipe, kept: Recipe) -> None:
        """The version before serves on, and counts again where no other engine has the new one."""
        self._refused[engines.name] = refused.digest
        others = [each for every in self._models.values() for each in every.runners]
        if not any(each.pid is not None and each.recipe == refused for each in others):
            with suppress(OSError):  # a full disk is no reason to end the engines
                make_current(kept)
        engines.follow(engines.model, kept)
        why = f"version {refused.version} of its backend does not start; this is the one before"
        log.error("%s: %s", engines.name, why)
        runner.say(why)

    def tidy(self) -> None:
        """Remove versions that were replaced and that no engine of ours has any more."""
        had = [each.recipe for engines in self._models.values() for each in engines.everyone]
        had += [each.before for each in self._models.values() if each.before is not None]
        remove_replaced({(each.name, each.digest) for each in (*had, *self._in_place.values())})


def has_room_beside(runner: Runner, card: int | None = None) -> bool:
    """Whether a second engine of the size of this one fits beside it as the machine is, on that card
    where it is given one; no where nobody can say.
    """
    measured = memory_of(runner.pid, gpu_memory_by_pid())
    if memory()["available"] < measured.total + SPARE:
        return False
    cards = gpus() if "nvidia" in runner.recipe.hardware else []
    if not cards:
        return True
    usable = [each for each in cards if card in {None, each.index}]
    return bool(measured.gpu) and any(each.free_vram >= measured.gpu + SPARE for each in usable)
