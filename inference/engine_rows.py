"""What the database says of models and engines, as targets of the engine table."""

from functools import lru_cache
from pathlib import Path

from accounts.runtime import env
from inference.engine_table import Target, names_of
from inference.gallery import built_in_gallery, find
from inference.model_abilities import read_config
from inference.models import SWITCHING, EngineState, Model, Operation, OperationState
from inference.operations import WAITS_FOR
from inference.recipes import concurrency, recipes

_STATES = {
    EngineState.STARTING: "loading",
    EngineState.READY: "ready",
    EngineState.DRAINING: "stopped",  # who comes now starts it again once it has stopped
    EngineState.WAITING: "loading",
    EngineState.FAILED: "failed",
    EngineState.STOPPED: "stopped",
}
FIRST_LOAD_RETRY_S, LOAD_RETRY_S = 15, 3
HOLD_S = 30.0  # how long callers wait for an engine that is upgraded in its place


def local_targets(configured: list[str]) -> list[Target]:
    """Installed models and their engines, then the configured ones that are still to be installed."""
    rows = Model.objects.prefetch_related("engines", "aliases").order_by("name")
    targets = [_of_model(row) for row in rows]
    known = names_of(targets)  # a configured name that is a model's alias already is served
    missing = [name for name in configured if name not in known]
    if missing:
        installations = Operation.objects.filter(action=Operation.Action.INSTALL)
        operations = list(installations.order_by("created_at"))
        targets += [_of_missing(name, operations, first=not known) for name in missing]
    return targets


def _of_model(row: Model) -> Target:
    engine = row.engine
    state = _STATES[EngineState(engine.state)] if engine else "loading"
    message = engine.message if engine else "waiting for the engine process"
    if engine is None or engine.state == EngineState.STOPPED:
        recipe = recipes().get(row.backend)
        if recipe is None or not recipe.is_installed(env().backends_path):
            state, message = "failed", f"its backend {row.backend} is not installed"
    return Target(
        name=row.name,
        served_model=row.name,
        address=engine.address if engine else "",
        state=state,  # type: ignore[arg-type]
        capabilities=frozenset(row.capabilities),
        is_default=row.is_default,
        message=message,
        retry_after_s=LOAD_RETRY_S,
        concurrency=concurrency(row.backend, row.options),
        context_length=context_length(row),
        backend=row.backend,
        addresses=_addresses(row),
        aliases=tuple(sorted(alias.name for alias in row.aliases.all())),
        disabled=not row.enabled,
        pinned=row.pinned,
        hold_s=HOLD_S if message == SWITCHING else 0.0,
    )


def _addresses(row: Model) -> tuple[str, ...]:
    """Where the engines that serve are; nothing where one address says it."""
    serving = [each for each in row.engines.all() if each.state == EngineState.READY]
    serving.sort(key=lambda each: each.replica)
    return tuple(each.address for each in serving) if len(serving) > 1 else ()


def context_length(row: Model) -> int:
    """How many tokens prompt and completion may have together: as it is started, else as it was made."""
    chosen = row.options.get("max_model_len")
    return chosen if type(chosen) is int and chosen > 0 else made_for(row.directory)


@lru_cache(maxsize=256)
def made_for(directory: str) -> int:
    try:
        described = read_config(Path(directory))
    except (OSError, ValueError):
        return 0
    length = described.get("max_position_embeddings") if isinstance(described, dict) else None
    return length if type(length) is int and length > 0 else 0


def _of_missing(name: str, operations: list[Operation], *, first: bool) -> Target:
    """A configured model that is not here yet: what its operation, or the backend's, is at."""
    found = find(name, offline=True)
    entry = found.entry if found is not None else None
    wanted = {(Operation.Kind.MODEL, name)}
    if entry is not None:
        wanted.add((Operation.Kind.BACKEND, entry.recipe_name))
    mine = [op for op in operations if (op.kind, op.target) in wanted]
    now = next((op for op in mine if op.state == OperationState.RUNNING), None)
    bad = next((op for op in reversed(mine) if op.state == OperationState.FAILED), None)
    queued = [op for op in mine if op.state == OperationState.QUEUED]
    to_come = [op for op in queued if WAITS_FOR not in op.details]  # else it waits for what failed
    failed = now is None and bad is not None and not to_come
    message = (now or bad).message if (now or bad) else "waiting to be installed"  # type: ignore[union-attr]
    installs = [op for op in mine if op.kind == Operation.Kind.MODEL]
    if installs and installs[-1].state == OperationState.DONE:
        failed, message = True, "it was deleted; install it again, or restart the server"
    return Target(
        name=name,
        served_model=name,
        address="",
        state="failed" if failed else "loading",
        capabilities=entry.capabilities if entry else frozenset(),
        is_default=first and name == next(iter(built_in_gallery())),
        message=message,
        progress=now.progress if now else 0,
        retry_after_s=FIRST_LOAD_RETRY_S,
        backend=entry.recipe_name if entry else "",
    )
