"""What a server still has to do before it answers, for `/readyz`, the home page and `make serve`.

Its words are in the language of the moment: the reader's on a page, English for programs.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from django.utils.translation import gettext as _

from accounts.runtime import env
from inference.gallery import find
from inference.models import Engine, EngineState, Model, Operation, OperationState
from inference.recipes import recipes
from inference.said import said

StepState = Literal["done", "now", "waiting", "failed"]


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the setup: what, how far (0 to 100), and what it says of itself."""

    name: str
    title: str
    state: StepState
    progress: int = 0
    message: str = ""


def setup_steps() -> list[Step]:
    """Backends, models and engines of the configured models, in order."""
    found = {name: find(name, offline=True) for name in env().local_models}
    entries = {name: each.entry if each is not None else None for name, each in found.items()}
    wanted = {*entries, *(entry.recipe_name for entry in entries.values() if entry is not None)}
    installations = Operation.objects.filter(action=Operation.Action.INSTALL, target__in=wanted)
    operations = {
        (op.kind, op.target): op for op in installations.defer("log_tail").order_by("created_at")
    }  # the latest of each wins
    installed = {row.name: row for row in Model.objects.prefetch_related("engines")}
    steps: list[Step] = []
    backends: list[str] = []
    for name, entry in entries.items():
        if entry is None:
            steps.append(Step(name, _model(name), "failed", 0, _("not in the galleries")))
            continue
        backend = entry.recipe_name
        if backend not in backends:
            backends.append(backend)
            recipe = recipes().get(backend)
            ready = recipe is not None and recipe.is_installed(env().backends_path)
            operation = operations.get(("backend", backend))
            title = _("Backend %(name)s") % {"name": backend}
            steps.append(_installing(backend, title, operation, ready))
        operation = operations.get(("model", name))
        steps.append(_installing(name, _model(name), operation, name in installed))
        steps.append(_loading(name, installed[name].engine if name in installed else None))
    return steps


def _model(name: str) -> str:
    return _("Model %(name)s") % {"name": name}


def _installing(name: str, title: str, operation: Operation | None, ready: bool) -> Step:  # noqa: FBT001
    if ready:
        return Step(name, title, "done", 100)
    if operation is None:
        return Step(name, title, "waiting", 0, _("waiting for the engine process"))
    if operation.state == OperationState.RUNNING:
        return Step(name, title, "now", operation.progress, said(operation.message))
    if operation.state in {OperationState.FAILED, OperationState.CANCELLED}:
        return Step(name, title, "failed", operation.progress, said(operation.message))
    return Step(name, title, "waiting", 0, said(operation.message))


def _loading(name: str, engine: Engine | None) -> Step:
    title = _("Engine of %(name)s") % {"name": name}
    if engine is None:
        return Step(f"{name}/engine", title, "waiting")
    if engine.state == EngineState.READY:
        return Step(f"{name}/engine", title, "done", 100)
    if engine.state == EngineState.FAILED:
        return Step(f"{name}/engine", title, "failed", 0, said(engine.message))
    state: StepState = "waiting" if engine.state == EngineState.STOPPED else "now"
    return Step(f"{name}/engine", title, state, 0, said(engine.message))


def pending_steps() -> list[dict[str, Any]]:
    """The steps that are not done, as `/readyz` lists them."""
    return [asdict(step) for step in setup_steps() if step.state != "done"]
