"""The work of one operation, in its own child process, and what it says of itself meanwhile."""

import logging
import time
from pathlib import Path

from django.utils import timezone

from accounts.runtime import env, generations
from core.generations import ENGINES
from inference.deleting import delete_model
from inference.gallery import Entry, built_in_gallery
from inference.installing import InstallError, install_backend, install_model, is_model_whole
from inference.model_folders import model_folder
from inference.models import Model, Operation, OperationState
from inference.operations import Action, Kind, Wish, end, enqueue
from inference.recipes import RecipeError, recipes

log = logging.getLogger("gatehouse.operations")
REPORT_EVERY_S = 0.5
TAIL_LINES = 40


class Progress:
    """Writes an operation's progress into its row, twice a second at most."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self._written_at = 0.0
        self._tail: list[str] = operation.log_tail.splitlines()

    def __call__(
        self,
        per_cent: int,
        message: str,
        *,
        phase: str = "",
        done: int | None = None,
        total: int | None = None,
    ) -> None:
        """`phase` is one word or two; `done` and `total` are bytes, None where nobody knows."""
        said = message[:200]
        if not self._tail or not self._tail[-1].endswith(said):
            now = timezone.now().strftime("%H:%M:%S")
            self._tail = [*self._tail, f"{now} {said}"][-TAIL_LINES:]
        if time.monotonic() - self._written_at < REPORT_EVERY_S:
            return
        self._written_at = time.monotonic()
        Operation.objects.filter(pk=self._operation.pk).update(
            progress=min(per_cent, 99),
            message=message[:500],
            phase=phase[:40],
            current_bytes=done,
            total_bytes=total,
            log_tail="\n".join(self._tail),
        )
        generations().bump(ENGINES)

    def keep_tail(self) -> None:
        """Write what was said last, which a busy half-second may have kept back."""
        Operation.objects.filter(pk=self._operation.pk).update(log_tail="\n".join(self._tail))


def work_off(operation: Operation) -> None:
    """Do it, and say how it ended in its row."""
    report = Progress(operation)
    try:
        if operation.kind == Kind.BACKEND:
            install_backend(recipes()[operation.target], env().backends_path, report)
        elif operation.action == Action.DELETE:
            delete_model(operation.target, report)
        else:
            _install_model(built_in_gallery()[operation.target], report)
    except KeyError:
        problem = f"no model found with name {operation.asked_for or operation.target}"
        end(operation.pk, OperationState.FAILED, problem)
    except (InstallError, RecipeError) as exc:
        end(operation.pk, OperationState.FAILED, str(exc))
    except OSError as exc:
        end(operation.pk, OperationState.FAILED, _os_error(exc))
    else:
        end(operation.pk, OperationState.DONE, "")
    finally:
        report.keep_tail()


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
            enqueue(Wish(Kind.BACKEND, Action.INSTALL, entry.backend))
        if is_model_whole(entry, env().models_path):
            register_model(entry)
        else:
            enqueue(Wish(Kind.MODEL, Action.INSTALL, name))


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
        return "The disk is full. Free some space, then start again."
    return f"A file could not be written: {exc.strerror}"
