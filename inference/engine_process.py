"""The engine process: one per data path, owner of every engine and operation of the machine."""

import ctypes
import logging
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from django.db import DatabaseError, close_old_connections
from django.db.models import F

from accounts.audit import CLI
from accounts.runtime import env, generations, stored_settings
from core.errors import GatehouseError
from core.files import HeldLock
from core.generations import ENGINES
from core.stopping import Stop
from inference import configuring, operation_work, operations
from inference.engine_limits import limits_in_force
from inference.guarded import Guarded
from inference.guardian import PR_SET_CHILD_SUBREAPER, descendants
from inference.models import Engine, EngineState, Model, Operation, OperationState
from inference.recipes import Recipe, recipes
from inference.replicas import Replicas
from inference.room import Room
from inference.switching import Switches

log = logging.getLogger("gatehouse.engine")
TICK_S, LOOK_S, TRIM_S = 0.1, 0.5, 60.0
LET_GO_LIMIT_S = 30.0  # shorter than a deletion waits for it


class EngineProcess:
    """`run` until `stop` is called (from a signal handler)."""

    def __init__(self) -> None:
        self._stop = Stop()
        self._models: dict[str, Replicas] = {}
        self._room = Room(self._models)
        self._switches = Switches(self._models, self._room)
        self._met: set[str] = set()  # models that had engines since we started
        self._probes = ThreadPoolExecutor(max_workers=8, thread_name_prefix="probe")
        self._operation: tuple[Operation, Guarded] | None = None
        self._looked_at = self._trimmed_at = 0.0

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        """Raises core.files.AlreadyHeldError where another engine process has this data path."""
        lock = HeldLock(env().data_path / "state" / "engine.lock")
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        try:
            self._find_feet()
            while not self._stop.is_set():
                self._guarded_tick()
                self._stop.wait(TICK_S)
        finally:
            self._end_all()
            lock.release()

    def _find_feet(self) -> None:
        """Whatever the last engine process had, its engines died with it: say so, and go on."""
        Engine.objects.update(
            state=EngineState.STOPPED, pid=None, address="", message="waiting for its start"
        )
        Engine.objects.filter(replica__gte=F("model__replicas")).delete()
        Model.objects.exclude(unload_asked_at=None).update(unload_asked_at=None)
        operations.resume_interrupted()
        operation_work.ensure_configured(env().local_models)
        self._read_files()

    @staticmethod
    def _read_files() -> None:
        """What was changed in models' files while nobody ran counts, and lost files come back."""
        try:
            configuring.reload(by=CLI)
        except GatehouseError as exc:
            log.warning("models' configuration files were not read: %s", exc)

    def _guarded_tick(self) -> None:
        """A database that is busy or gone stops no engine: the next tick tries again."""
        try:
            self._tick()
        except DatabaseError as exc:
            log.warning("the database does not answer the engine process: %s", type(exc).__name__)
            close_old_connections()
            self._stop.wait(1.0)

    def _tick(self) -> None:
        now = time.monotonic()
        for engines in self._models.values():
            engines.tick()
        self._switches.tick()
        self._end_strays()
        if now - self._looked_at >= LOOK_S:
            self._looked_at = now
            stored_settings().fresh()  # engines' threads ask what is known
            self._take_limits()
            self._move_operation()
            self._follow_models()
        self._room.tick()
        if now - self._trimmed_at >= TRIM_S:
            self._trimmed_at = now
            if self._operation is not None:  # an engine's own log is kept short by its writer
                self._operation[1].trim_log()
            self._switches.tidy()

    def _take_limits(self) -> None:
        self._room.limits = limits = limits_in_force()
        for engines in self._models.values():
            engines.limits = limits

    def _follow_models(self) -> None:
        """Start what should run and does not, stop what should not and does."""
        known = {row.name: row for row in Model.objects.all()}
        self._met &= known.keys()
        rows = {name: row for name, row in known.items() if row.enabled}
        for name in [name for name in self._models if name not in rows]:
            self._let_go(name)
        for name, row in rows.items():
            engines, recipe = self._models.get(name), installed_recipe(row)
            if engines is None:
                if recipe is not None:
                    self._meet(row, recipe)
            elif recipe is None and engines.has_ended:  # its backend was deleted
                self._drop(name)
            elif row.unload_asked_at is not None:
                engines.follow(row, recipe)
                self._unload(engines)
            else:
                self._switches.follow(engines, row, recipe)
                if row.wanted_at is not None and engines.state != EngineState.DRAINING:
                    self._want(engines)

    def _meet(self, row: Model, recipe: Recipe) -> None:
        """A model that had no engines: it is installed, enabled again, or its backend came."""
        engines = self._models[row.name] = Replicas(row, recipe, self._probes)
        engines.limits = self._room.limits
        is_new = row.name not in self._met  # one that was disabled waits for a caller
        self._met.add(row.name)
        if row.wanted_at is not None:
            self._want(engines)
        elif row.load_at_start and is_new:
            self._room.offer(engines)
        elif row.engine is None:
            engines.runners[0].say("not loaded yet")

    def _let_go(self, name: str) -> None:
        """A model that is disabled, or about to be deleted, ends its callers first."""
        engines = self._models[name]
        is_there = Model.objects.filter(pk=name).exists()
        if not is_there:
            for runner in engines.everyone:
                runner.hush()
        elif not engines.has_ended:
            engines.drain("the model is disabled", limit_s=LET_GO_LIMIT_S)
        if engines.has_ended or not is_there:
            self._drop(name)

    def _drop(self, name: str) -> None:
        self._models.pop(name).stop()
        Model.objects.filter(pk=name).update(unload_asked_at=None)

    def _want(self, engines: Replicas) -> None:
        """Somebody wants this model; engines that are loading or loaded are not started again."""
        self._room.want(engines)
        Model.objects.filter(pk=engines.name).update(wanted_at=None)
        generations().bump(ENGINES)

    @staticmethod
    def _unload(engines: Replicas) -> None:
        """An admin wants it stopped (R-14): drain it, and say when that is done."""
        if not engines.has_ended:
            engines.drain("unloaded by an admin")
        if engines.has_ended:
            Model.objects.filter(pk=engines.name).update(unload_asked_at=None)
            generations().bump(ENGINES)

    def _move_operation(self) -> None:
        if self._operation is not None:
            row, work = self._operation
            if Operation.objects.filter(pk=row.pk, cancel_asked=True).exists():
                work.stop()
                operations.end(row.pk, OperationState.CANCELLED, "cancelled")
            elif work.exit_status() is not None:
                operations.end_unexpectedly(row)
            else:
                return
            operations.clean_up(row)
            self._operation = None
        elif (queued := operations.next_queued()) is not None:
            work_started = operations.start(queued)
            self._operation = (queued, work_started) if work_started is not None else None

    def _end_strays(self) -> None:
        """Processes that lost their guardian come to us, as the next subreaper: end them."""
        known = {pid for engines in self._models.values() for pid in engines.pids}
        if self._operation is not None:
            known.add(self._operation[1].pid)
        for pid in children():
            if pid not in known:
                for each in {pid, *descendants(pid)}:
                    try:
                        os.kill(each, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
                os.waitpid(pid, 0)

    def _end_all(self) -> None:
        for engines in self._models.values():
            engines.ask_to_stop()
        if self._operation is not None:
            self._operation[1].stop()
        for engines in self._models.values():
            engines.stop()
        self._probes.shutdown(wait=False, cancel_futures=True)


def installed_recipe(row: Model) -> Recipe | None:
    """The version of its backend that counts; None where none is installed."""
    recipe = recipes().get(row.backend)
    return recipe if recipe is not None and recipe.is_installed(env().backends_path) else None


def children() -> list[int]:
    """The direct children of this process, those that came by reparenting included."""
    try:
        listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    except FileNotFoundError:  # a kernel without that list
        return []
    return [int(pid) for pid in listed.split()]
