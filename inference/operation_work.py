"""The work of one operation, in its own child process, and what it says of itself meanwhile."""

import logging
import time
from contextlib import suppress
from pathlib import Path

from django.db import DatabaseError
from django.utils import timezone

from accounts.runtime import env, generations, stored_settings
from accounts.runtime_settings.in_force import value
from core.errors import ConflictError
from core.generations import ENGINES
from inference import backend_galleries, backend_work
from inference.backends_here import installed_backends
from inference.deleting import delete_model
from inference.gallery import Found, find
from inference.hardware import hardware
from inference.installing import InstallError
from inference.model_configuration import Configuration, recipe_name
from inference.model_folders import model_folder
from inference.model_install import Installed, NotPreparedError, install_model, installed
from inference.models import Model, Operation, OperationState
from inference.operations import Action, Kind, Wish, end, enqueue, put_back
from inference.recipes import RecipeError, check_options, recipes
from inference.registering import adopt, find_again, refuse_taken, register_model
from inference.wanted_models import wanted

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
        with suppress(DatabaseError):  # a busy moment of it is no reason to end a download
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
            (backend_work.delete if operation.action == Action.DELETE else backend_work.install)(
                operation, report
            )
        elif operation.action == Action.DELETE:
            delete_model(operation, report)
        else:
            _install(operation, report)
    except NotPreparedError as exc:
        put_back(operation, wanted(operation).entry.recipe_name, str(exc))
    except (InstallError, RecipeError) as exc:
        end(operation.pk, OperationState.FAILED, str(exc))
    except OSError as exc:
        end(operation.pk, OperationState.FAILED, _os_error(exc))
    except Exception:
        log.exception("an operation on %s failed", operation.target)
        end(operation.pk, OperationState.FAILED, "It failed; the server's log says why.")
    else:
        end(operation.pk, OperationState.DONE, "")
    finally:
        report.keep_tail()


def ensure_configured(names: list[str]) -> None:
    """Queue what the configured models still need; register what is here already."""
    if names:
        backend_galleries.shelves()  # what is elsewhere is known from now on
    for name in names:
        found = find(name)
        if found is None:
            log.error("LOCALAI_MODELS: no model %s in the galleries", name)
            continue
        entry = found.entry
        offer = backend_galleries.find(entry.recipe_name, offline=True)
        if (
            offer is not None
            and offer.is_allowed
            and not offer.recipe.is_installed(env().backends_path)
        ):
            _enqueue(Wish(Kind.BACKEND, Action.INSTALL, offer.recipe.name))
        there = installed(entry, env().models_path)
        row = Model.objects.filter(pk=entry.name).first() if there is not None else None
        if row is not None:
            find_again(row, entry)
        elif there is not None:
            register_model(entry, there)
        else:
            _enqueue(Wish(Kind.MODEL, Action.INSTALL, entry.name, found.id))


def _enqueue(wish: Wish) -> None:
    with suppress(ConflictError):  # somebody installs another one of that name: theirs
        enqueue(wish)


def bring_backend(name: str, *, asked_by: str) -> None:
    """Have a model's backend installed, where one is offered and an admin has not said otherwise."""
    stored_settings().fresh()
    if not value("autoload_backend_galleries") or name in installed_backends():
        return
    offer = backend_galleries.find(name)
    if offer is not None and offer.is_allowed and set(offer.recipe.hardware) & set(hardware()):
        _enqueue(Wish(Kind.BACKEND, Action.INSTALL, offer.recipe.name, offer.id, asked_by))


def _install(operation: Operation, report: Progress) -> None:
    details = operation.details
    configuration = None
    if "configuration" in details:
        configuration = Configuration.model_validate(details["configuration"])
        if "entry" not in details:
            refuse_taken(configuration.name, configuration.aliases)
            bring_backend(recipe_name(configuration.backend), asked_by=operation.asked_by)
            adopt(configuration, report)
            return
    found = wanted(operation)
    aliases = configuration.aliases if configuration else details.get("aliases", [])
    refuse_taken(found.entry.name, aliases)
    there = _install_model(found, report, asked_by=operation.asked_by)
    asked = bool(details.get("overrides")) or "entry" in details
    register_model(found.entry, there, configuration=configuration, aliases=aliases, asked=asked)


def _install_model(found: Found, report: Progress, *, asked_by: str) -> Installed:
    backend_galleries.shelves()  # what is elsewhere is known from now on
    entry = found.entry
    recipe = recipes().get(entry.recipe_name)
    if recipe is not None:
        check_options(recipe, entry.options)
    elif entry.overrides.convert:
        raise InstallError(f"{entry.name} wants the backend {entry.backend}, which nobody offers.")
    bring_backend(entry.recipe_name, asked_by=asked_by)
    is_here = recipe is not None and recipe.is_installed(env().backends_path)
    python = recipe.python(env().backends_path) if recipe is not None and is_here else Path()
    folder = model_folder(entry.name, env().models_path)
    same_folder = Model.objects.filter(directory=str(folder)).exclude(pk=entry.name)
    is_other = installed(entry, env().models_path) is None
    if same_folder.exists() or (is_other and Model.objects.filter(pk=entry.name).exists()):
        raise InstallError(f"There is another model {entry.name} already; delete it first.")
    return install_model(
        entry,
        folder=found.folder,
        models_path=env().models_path,
        python=python,
        report=report,
    )


def _os_error(exc: OSError) -> str:
    if exc.errno == 28:
        return "The disk is full. Free some space, then start again."
    return f"A file could not be written: {exc.strerror}"
