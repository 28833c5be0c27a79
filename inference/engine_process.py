"""The engine process: one per data path, owner of every engine and operation of the machine."""

import ctypes
import logging
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from django.db import DatabaseError, close_old_connections

from accounts.runtime import env, generations, stored_settings
from core.files import HeldLock
from core.generations import ENGINES
from inference import operation_work, operations
from inference.guarded import Guarded
from inference.guardian import PR_SET_CHILD_SUBREAPER, descendants
from inference.models import Engine, EngineState, Model, Operation, OperationState
from inference.recipes import recipes
from inference.supervisor import Runner
from inference.switching import Switches

log = logging.getLogger("gatehouse.engine")
TICK_S, LOOK_S, TRIM_S = 0.1, 0.5, 60.0


class EngineProcess:
    """`run` until `stop` is called (from a signal handler)."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._runners: dict[str, Runner] = {}
        self._probes = ThreadPoolExecutor(max_workers=8, thread_name_prefix="probe")
        self._switches = Switches(self._probes)
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
        Model.objects.exclude(unload_asked_at=None).update(unload_asked_at=None)
        operations.resume_interrupted()
        operation_work.ensure_configured(env().local_models)

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
        for runner in self._runners.values():
            runner.tick()
        self._switches.tick(self._runners)
        self._end_strays()
        if now - self._looked_at >= LOOK_S:
            self._looked_at = now
            stored_settings().fresh()  # engines' threads ask what is known
            self._move_operation()
            self._follow_models()
        if now - self._trimmed_at >= TRIM_S:
            self._trimmed_at = now
            if self._operation is not None:  # an engine's own log is kept short by its writer
                self._operation[1].trim_log()
            self._switches.tidy(self._runners)

    def _follow_models(self) -> None:
        """Start what should run and does not, stop what should not and does."""
        rows = {row.name: row for row in Model.objects.filter(enabled=True)}
        for name in [name for name in self._runners if name not in rows]:
            self._runners.pop(name).stop()
            Model.objects.filter(pk=name).update(unload_asked_at=None)
        for name, row in rows.items():
            recipe = recipes().get(row.backend)
            if recipe is not None and not recipe.is_installed(env().backends_path):
                recipe = None
            if name in self._runners:
                self._switches.follow(self._runners, row, recipe)
            runner = self._runners.get(name)
            if runner is None:
                if recipe is None:
                    continue
                runner = self._runners[name] = Runner(row, recipe, self._probes)
                if row.load_at_start or row.wanted_at is not None:
                    self._want(runner)
                continue
            runner.follow(row)
            if row.unload_asked_at is not None:
                self._unload(runner)
            elif row.wanted_at is not None and runner.state != EngineState.DRAINING:
                self._want(runner)

    @staticmethod
    def _want(runner: Runner) -> None:
        """Somebody wants this model; one that is loading or loaded already is not started again."""
        if runner.state in {EngineState.STOPPED, EngineState.FAILED}:
            runner.start_anew()
        elif runner.state == EngineState.WAITING:  # now, but its failed tries go on counting
            runner.start()
        Model.objects.filter(pk=runner.name).update(wanted_at=None)
        generations().bump(ENGINES)

    @staticmethod
    def _unload(runner: Runner) -> None:
        """An admin wants it stopped (R-14): drain it, and say when that is done."""
        if runner.state not in {EngineState.STOPPED, EngineState.FAILED}:
            runner.drain("unloaded by an admin")
        if runner.state in {EngineState.STOPPED, EngineState.FAILED}:
            Model.objects.filter(pk=runner.name).update(unload_asked_at=None)
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
        known = {runner.pid for runner in self._runners.values()} | self._switches.pids()
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
        for runner in self._runners.values():
            runner.ask_to_stop()
        self._switches.ask_to_stop()
        if self._operation is not None:
            self._operation[1].stop()
        for runner in self._runners.values():
            runner.stop()
        self._switches.stop()
        self._probes.shutdown(wait=False, cancel_futures=True)


def children() -> list[int]:
    """The direct children of this process, those that came by reparenting included."""
    try:
        listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    except FileNotFoundError:  # a kernel without that list
        return []
    return [int(pid) for pid in listed.split()]
