"""Deleting a model: its engine stops first, then its files go, then its row."""

import shutil
import time
from pathlib import Path

from accounts.runtime import env, generations
from core.generations import ENGINES
from inference.installing import InstallError, Report
from inference.log_files import log_folder
from inference.model_folders import discard
from inference.models import Engine, EngineState, Model, Operation

STOP_TIMEOUT_S, QUIET_S, LOOK_S = 60.0, 1.5, 0.2
_ENDED = (EngineState.STOPPED, EngineState.FAILED)


def delete_model(operation: Operation, report: Report) -> None:
    """Raises InstallError where there is no such model, or its engine does not end.

    What was begun before a kill is gone on with: `details` keep whether the model was enabled.
    """
    name, details = operation.target, operation.details
    row = Model.objects.filter(pk=name).first()
    if row is None:
        if "was_enabled" in details:
            return
        raise InstallError(f"no model found with name {name}")
    if "was_enabled" not in details:
        details["was_enabled"] = row.enabled
        operation.save(update_fields=["details"])
    was_enabled = bool(details["was_enabled"])
    # the engine process lets go of it, at once also where it was draining it
    Model.objects.filter(pk=name).update(enabled=False, unload_asked_at=None)
    generations().bump(ENGINES)
    report(10, "stopping its engine", phase="stopping")
    if not _is_let_go(name):
        Model.objects.filter(pk=name).update(enabled=was_enabled)
        generations().bump(ENGINES)
        raise InstallError("The engine of this model did not stop; it stays as it was.")
    report(50, "removing its files", phase="removing")
    folder = Path(row.directory)
    if folder.parent == env().models_path:  # never what lies elsewhere
        discard(folder)
    shutil.rmtree(log_folder(env().data_path, name), ignore_errors=True)
    row.delete()
    generations().bump(ENGINES)


def _is_let_go(name: str) -> bool:
    """Wait until its engine has been down for as long as the engine process takes to look twice."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    down_since = None
    while time.monotonic() < deadline:
        engines = Engine.objects.filter(model_id=name)
        if not engines.exists():
            return True  # nobody ever started one
        now = time.monotonic()
        if not engines.exclude(state__in=_ENDED).exists():
            down_since = down_since or now
            if now - down_since >= QUIET_S:
                return True
        else:
            down_since = None
        time.sleep(LOOK_S)
    return False
