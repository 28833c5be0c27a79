"""What an admin asks of the engine process: load a model, unload it (R-14).

A request is a time in the model's row, which the engine process empties when it did it; nothing here
touches a process. The engine counter says when to look again, so waiting costs no queries.
"""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Literal

from django.utils import timezone

from accounts.runtime import env, generations
from core.errors import (
    ConflictError,
    EngineFailedError,
    ModelNotFoundError,
    NotFoundError,
    UnavailableError,
)
from core.generations import ENGINES
from inference.models import Engine, EngineState, Model
from inference.recipes import recipes

Outcome = Literal["done", "under way"]
HEARD_WITHIN_S = 10.0  # the engine process looks twice a second, but may be ending another engine
LOOK_S, LOOK_AT_LEAST_S = 0.02, 1.0
NOT_LOADED = {EngineState.STOPPED, EngineState.FAILED}
UNDER_WAY = {EngineState.STARTING, EngineState.DRAINING, EngineState.WAITING}


def find_model(name: str) -> Model:
    """The installed model of that name. Raises ModelNotFoundError."""
    row = Model.objects.filter(pk=name).prefetch_related("engines").first() if name else None
    if row is None:
        raise ModelNotFoundError(f'model "{name[:100]}" not found', param="model")
    return row


def loaded_engine(name: str) -> Engine:
    """The engine that speaks for a model that is loaded, loading, or about to try again.

    Raises NotFoundError.
    """
    row = Model.objects.filter(pk=name).prefetch_related("engines").first() if name else None
    engine = row.engine if row is not None else None
    if engine is None or engine.state in NOT_LOADED:
        raise NotFoundError(f"backend {name[:100]} is not currently loaded")
    return engine


def load(name: str, *, wait_s: float) -> Outcome:
    """Load a model, and wait for it `wait_s` at most.

    Raises ModelNotFoundError, ConflictError for one that may not be loaded, EngineFailedError for an
    engine that gave up, UnavailableError where its backend or the engine process is missing.
    """
    row = find_model(name)
    if not row.enabled:
        raise ConflictError(f"{name} is disabled", param="model")
    recipe = recipes().get(row.backend)
    if recipe is None or not recipe.is_installed(env().backends_path):
        raise UnavailableError(f"The backend of {name}, {row.backend}, is not installed.")
    asked = timezone.now()
    _ask(name, wanted_at=asked)

    def look() -> Outcome | None:
        now = find_model(name)
        engine = now.engine
        if now.wanted_at is not None or engine is None:
            return None
        if engine.state == EngineState.FAILED:
            raise EngineFailedError(
                f"The engine of {name} does not start: {engine.message}", status=503
            )
        if engine.state == EngineState.STOPPED and now.unload_asked_at is None:
            raise UnavailableError(f"{name} is not loaded: {engine.message}", retry_after_s=5)
        return "done" if engine.state == EngineState.READY else None

    def was_heard() -> bool:
        row = find_model(name)
        return row.wanted_at is None or row.unload_asked_at is not None  # that comes first

    return _wait(name, "wanted_at", asked, wait_s=wait_s, look=look, was_heard=was_heard)


def unload(name: str, *, wait_s: float) -> Outcome:
    """Stop a model's engine once the callers it has are served, and wait for that `wait_s` at most.

    Raises NotFoundError for one that is not loaded, UnavailableError without an engine process.
    """
    loaded_engine(name)
    asked = timezone.now()
    _ask(name, unload_asked_at=asked, wanted_at=None)

    def look() -> Outcome | None:
        gone = not Model.objects.filter(pk=name, unload_asked_at__isnull=False).exists()
        return "done" if gone else None

    def was_heard() -> bool:
        return Engine.objects.filter(model_id=name, state=EngineState.DRAINING).exists()

    return _wait(name, "unload_asked_at", asked, wait_s=wait_s, look=look, was_heard=was_heard)


def at_rest(name: str, *, wait_s: float) -> str:
    """The state of a model's engine once everything asked of it is done, or `wait_s` later as it is."""
    ends = time.monotonic() + wait_s
    while True:
        moved = generations().read(ENGINES)
        row = Model.objects.filter(pk=name).prefetch_related("engines").first()
        if row is None or (engine := row.engine) is None:
            return EngineState.STOPPED.value
        asked = row.unload_asked_at or (row.enabled and row.wanted_at)
        if (not asked and engine.state not in UNDER_WAY) or time.monotonic() >= ends:
            return str(engine.state)
        until = min(ends, time.monotonic() + LOOK_AT_LEAST_S)
        while generations().read(ENGINES) == moved and time.monotonic() < until:
            time.sleep(LOOK_S)


def _ask(name: str, **fields: datetime | None) -> None:
    Model.objects.filter(pk=name).update(**fields)
    generations().bump(ENGINES)


def _wait(
    name: str,
    column: str,
    asked: datetime,
    *,
    wait_s: float,
    look: Callable[[], Outcome | None],
    was_heard: Callable[[], bool],
) -> Outcome:
    """Look whenever the engine counter moved. A request that nobody heard is taken back."""
    began = time.monotonic()
    heard = False
    while True:
        moved = generations().read(ENGINES)
        if (outcome := look()) is not None:
            return outcome
        heard = heard or was_heard()
        waited_s = time.monotonic() - began
        if not heard and waited_s >= HEARD_WITHIN_S:
            Model.objects.filter(pk=name, **{column: asked}).update(**{column: None})
            raise UnavailableError(
                "The engine process does not answer; is it running?", retry_after_s=5
            )
        if heard and waited_s >= wait_s:
            return "under way"
        until = time.monotonic() + LOOK_AT_LEAST_S
        while generations().read(ENGINES) == moved and time.monotonic() < until:
            time.sleep(LOOK_S)
