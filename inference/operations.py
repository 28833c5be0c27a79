"""Operations: the queue, and the child process that works one off."""

import logging
import sys
import time
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.runtime import env, generations
from core.generations import ENGINES
from inference.gallery import Entry, built_in_gallery
from inference.guarded import Guarded
from inference.hardware import host_environment
from inference.installing import (
    InstallError,
    install_backend,
    install_model,
    is_model_whole,
    model_folder,
)
from inference.models import Model, Operation, OperationState
from inference.recipes import RecipeError, recipes

log = logging.getLogger("gatehouse.operations")
REPORT_EVERY_S = 0.5
Kind = Operation.Kind


def enqueue(kind: str, target: str) -> None:
    """Ask for an operation; one that is queued or running already is the same one."""
    try:
        with transaction.atomic():
            Operation.objects.create(kind=kind, target=target, message="waiting")
    except IntegrityError:
        return
    generations().bump(ENGINES)


def resume_interrupted() -> None:
    """What a dead engine process was working on goes back into the queue, under the same id."""
    Operation.objects.filter(state=OperationState.RUNNING).update(
        state=OperationState.QUEUED, message="going on after an interruption"
    )


def register_model(entry: Entry) -> None:
    """The row of a model whose directory is whole."""
    first = not Model.objects.filter(is_default=True).exists()
    described = {
        "description": entry.description,
        "source": f"pypi:{entry.wheel.requirement}",
        "checksum": entry.wheel.sha256,
        "backend": entry.backend,
        "directory": str(model_folder(entry.name, env().models_path)),
        "options": entry.options,
        "capabilities": sorted(entry.capabilities),
    }
    is_default = first and "chat" in entry.capabilities
    Model.objects.update_or_create(
        name=entry.name,
        defaults=described,
        create_defaults={**described, "is_default": is_default},
    )
    generations().bump(ENGINES)


def ensure_configured(names: list[str]) -> None:
    """Queue what the configured models still need; register what is here already."""
    for name in names:
        entry = built_in_gallery().get(name)
        if entry is None:
            log.error("LOCALAI_MODELS: no model %s in the gallery", name)
            continue
        if not recipes()[entry.backend].is_installed(env().backends_path):
            enqueue(Kind.BACKEND, entry.backend)
        if is_model_whole(entry, env().models_path):
            register_model(entry)
        else:
            enqueue(Kind.MODEL, name)


def next_queued() -> Operation | None:
    return Operation.objects.filter(state=OperationState.QUEUED).order_by("created_at").first()


def start(operation: Operation) -> Guarded:
    """Run one in a guarded child, which writes its progress into the row itself."""
    Operation.objects.filter(pk=operation.pk).update(
        state=OperationState.RUNNING, started_at=timezone.now(), message="starting"
    )
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "runoperation"]
    log_path = env().data_path / "logs" / "operations.log"
    return Guarded([*command, str(operation.pk)], environment=host_environment(), log=log_path)


def end(operation_id: UUID, state: str, message: str) -> None:
    """Close an operation that is not closed yet."""
    Operation.objects.filter(
        pk=operation_id, state__in=[OperationState.QUEUED, OperationState.RUNNING]
    ).update(state=state, message=message[:500], finished_at=timezone.now())
    generations().bump(ENGINES)


class Progress:
    """Writes an operation's progress, twice a second at most."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self._written_at = 0.0

    def __call__(self, per_cent: int, message: str) -> None:
        now = time.monotonic()
        if now - self._written_at < REPORT_EVERY_S:
            return
        self._written_at = now
        Operation.objects.filter(pk=self._operation.pk).update(
            progress=min(per_cent, 99), message=message[:500]
        )
        generations().bump(ENGINES)


def work_off(operation: Operation) -> None:
    """Do it, and say how it ended in its row. Runs in the child process."""
    report = Progress(operation)
    try:
        if operation.kind == Kind.BACKEND:
            install_backend(recipes()[operation.target], env().backends_path, report)
        else:
            _install_model(built_in_gallery()[operation.target], report)
    except KeyError:
        end(operation.pk, OperationState.FAILED, f"There is no {operation.target} to install.")
    except (InstallError, RecipeError) as exc:
        end(operation.pk, OperationState.FAILED, str(exc))
    except OSError as exc:
        end(operation.pk, OperationState.FAILED, _os_error(exc))
    else:
        Operation.objects.filter(pk=operation.pk).update(progress=100)
        end(operation.pk, OperationState.DONE, "")


def _install_model(entry: Entry, report: Progress) -> None:
    recipe = recipes()[entry.backend]
    python: Path = recipe.python(env().backends_path)
    if entry.convert and not recipe.is_installed(env().backends_path):
        raise InstallError(
            f"{entry.name} waits for the backend {entry.backend}, which is not here."
        )
    install_model(entry, models_path=env().models_path, python=python, report=report)
    register_model(entry)


def _os_error(exc: OSError) -> str:
    if exc.errno == 28:
        return "The disk is full. Free some space, then start again; it goes on where it stopped."
    return f"A file could not be written: {exc.strerror}"
