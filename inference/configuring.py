"""Changing what is configured of models: checked as a whole, written as a whole, recorded (R-19)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from django.db import transaction
from django.utils import timezone

from accounts.audit import Actor, Subject, record
from accounts.runtime import generations
from core.errors import ConflictError, GatehouseError, InvalidRequestError, NotFoundError
from core.generations import ENGINES
from core.strict_yaml import Document
from inference import configuration_files
from inference.engine_requests import NOT_LOADED
from inference.model_configuration import (
    READ_ONLY,
    Configuration,
    ConfigurationFaultError,
    as_data,
    checked,
    of_row,
    read,
    recipe_name,
)
from inference.model_folders import CONFIGURATION
from inference.model_names import one_at_a_time, taken_for_aliases
from inference.models import Engine, EngineState, Model, ModelAlias

NOT_FOUND = "model configuration not found"
_ENGINE_KEYS = {"backend", "options"}
EngineNews = Literal["unchanged", "restarting", "unloading", "next load"]
Build = Callable[[Configuration], Configuration]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one model's file."""

    model: str
    message: str
    line: int | None = None


class FaultyFilesError(GatehouseError):
    """Nothing was changed: these files have to be put right first."""

    status = 400
    reason = "invalid_request"
    type = "invalid_request_error"

    def __init__(self, faults: list[Fault]) -> None:
        first = faults[0]
        where = f", line {first.line}" if first.line else ""
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        listed = [
            {"model": each.model, "file": CONFIGURATION, "line": each.line}
            | {"message": each.message}
            for each in faults
        ]
        super().__init__(
            f"{first.model}{where}: {first.message}{more}; nothing was changed",
            extra={"faults": listed},
        )


@dataclass(frozen=True, slots=True)
class Changed:
    """What a change came to: the configuration that is in force now, and what becomes of the engine."""

    configuration: Configuration
    engine: EngineNews = "unchanged"


@dataclass(frozen=True, slots=True)
class _Step:
    """One model's part of a change."""

    row: Model
    before: Configuration
    after: Configuration

    @property
    def differing(self) -> list[str]:
        old, new = as_data(self.before), as_data(self.after)
        return [key for key in new if new[key] != old[key]]


def find(name: str) -> Model:
    """A model's row with its aliases: two queries. Raises NotFoundError."""
    row = Model.objects.filter(pk=name).prefetch_related("aliases").first() if name else None
    if row is None:
        raise NotFoundError(NOT_FOUND)
    return row


def with_fields(**fields: bool) -> Build:
    """The configuration in force with these switches set."""
    return lambda before: before.model_copy(update=fields)


def merged(before: Configuration, given: Mapping[str, Any]) -> Configuration:
    """`before` with what `given` names; the whole is judged anew. Raises ConfigurationFaultError."""
    data = as_data(before)
    options = given.get("options")
    for key, value in given.items():
        if value is None and key in data:
            data.pop(key)
        else:
            data[key] = value
    if isinstance(options, dict):
        both = {**before.options, **options}
        data["options"] = {key: value for key, value in both.items() if value is not None}
    return checked(data)


def whole(data: Mapping[str, Any], document: Document | None) -> Build:
    """`data` in place of what was there: what it leaves out is the default.

    Of the facts (name, source, checksum) it may say nothing: they stay what they are.
    """

    def build(before: Configuration) -> Configuration:
        facts = {key: getattr(before, key) for key in READ_ONLY}
        return checked(facts | dict(data), document)

    return build


def change(name: str, build: Build, *, by: Actor) -> Changed:
    """Set one model's configuration to what `build` makes of the one in force.

    Raises NotFoundError, ConflictError, InvalidRequestError; then nothing was changed.
    """
    with transaction.atomic():
        one_at_a_time()
        row = _locked(name)
        _refuse_edited(row)
        before = of_row(row)
        try:
            step = _Step(row, before, _with_recipe(build(before)))
            _check_fixed(step)
            _check_together([step])
        except ConfigurationFaultError as exc:
            raise InvalidRequestError(str(exc), param=exc.param) from exc
        touched, news = _apply([step], by)
    _tell(touched)
    return Changed(step.after, news.get(name, "unchanged"))


def _locked(name: str) -> Model:
    rows = Model.objects.select_for_update().prefetch_related("aliases")
    row = rows.filter(pk=name).first() if name and "\0" not in name else None
    if row is None:
        raise NotFoundError(NOT_FOUND)
    return row


def _refuse_edited(row: Model) -> None:
    """A change would be lost, or would lose somebody's. Raises ConflictError."""
    if configuration_files.standing(row) == "edited":
        raise ConflictError(
            f"{CONFIGURATION} of {row.name} was changed by hand:"
            " POST /models/reload takes it over, deleting it takes it back"
        )


def reload(*, by: Actor) -> list[str]:
    """Take over what was changed in files by hand, and write the files that are behind; the names of
    the models that changed. What they take on disk is looked at anew.

    Raises FaultyFilesError where one of the files is wrong: then nothing was changed.
    """
    folders = dict(Model.objects.values_list("name", "directory"))
    sizes = {name: configuration_files.size_of(Path(folder)) for name, folder in folders.items()}
    with transaction.atomic():
        one_at_a_time()
        rows = list(Model.objects.select_for_update().prefetch_related("aliases").order_by("name"))
        steps, faults = _edited(rows)
        faults += _faults_together(steps)
        if faults:
            raise FaultyFilesError(faults)
        touched, _news = _apply(steps, by)
        _set_sizes(rows, sizes)
    _tell({row.name for row in rows})
    # who edited a file finds its text as it would be written: comments are not kept
    configuration_files.keep(*(step.row.name for step in steps), anew=True)
    return sorted(touched)


def _set_sizes(rows: list[Model], sizes: dict[str, int | None]) -> None:
    resized = []
    for row in rows:
        size = sizes.get(row.name)  # None where it is on another machine
        if size is not None and size != row.size_bytes:
            row.size_bytes = size
            resized.append(row)
    Model.objects.bulk_update(resized, ["size_bytes"])


def _edited(rows: list[Model]) -> tuple[list[_Step], list[Fault]]:
    steps, faults = [], []
    for row in rows:
        if configuration_files.standing(row) != "edited":
            continue
        try:
            after = _with_recipe(read(configuration_files.text_at(row)))
            step = _Step(row, of_row(row), after)
            _check_fixed(step)
        except ConfigurationFaultError as exc:
            faults.append(Fault(row.name, exc.message, exc.line))
        else:
            steps.append(step)
    return steps, faults


def _with_recipe(configuration: Configuration) -> Configuration:
    """The row names the recipe itself: `vllm` is `vllm-cpu` here where there is no graphics card."""
    name = recipe_name(configuration.backend)
    return configuration.model_copy(update={"backend": name})


def _check_fixed(step: _Step) -> None:
    """Raises ConfigurationFaultError for what editing cannot change."""
    for key in READ_ONLY:
        if getattr(step.after, key) != getattr(step.before, key):
            raise ConfigurationFaultError(
                f"{key}: it cannot be changed"
                + (" (give it an alias, or install it anew)" if key == "name" else ""),
                param=key,
            )


def _check_together(steps: list[_Step]) -> None:
    """Raises ConfigurationFaultError where names or the default model clash."""
    if faults := _faults_together(steps):
        raise ConfigurationFaultError(faults[0].message, param=faults[0].message.partition(":")[0])


def _faults_together(steps: list[_Step]) -> list[Fault]:
    """What is wrong with several changes at once, each of which is right by itself: two queries."""
    faults = []
    named = [(alias, step) for step in steps for alias in step.after.aliases]
    wanted = [(alias, s.row.name) for alias, s in named if alias not in s.before.aliases]
    models = [step.row.name for step in steps]
    held = taken_for_aliases((alias for alias, _ in wanted), apart_from=models)
    kept = [(alias, s.row.name) for alias, s in named if alias in s.before.aliases]
    held |= {alias: f"an alias of {model}" for alias, model in kept}
    for alias, model in wanted:
        if (what := held.get(alias)) is not None:
            faults.append(Fault(model, f"aliases: {alias} is {what} already"))
        held[alias] = f"an alias of {model}"
    defaults = [step for step in steps if step.after.default]
    faults += [Fault(each.row.name, "default: two files say so") for each in defaults[1:]]
    for step in steps:
        if step.before.default and not step.after.default and not defaults:
            faults.append(Fault(step.row.name, "default: make another model the default instead"))
    return faults


def _apply(steps: list[_Step], by: Actor) -> tuple[set[str], dict[str, EngineNews]]:
    """Write rows, aliases and the trail; the models whose files are behind now, and news of engines."""
    steps = [step for step in steps if step.differing]
    touched = {step.row.name for step in steps}
    news: dict[str, EngineNews] = {}
    touched |= _move_default(steps, by)
    _set_aliases(steps)
    engines = _engines_of([step.row.name for step in steps])
    for step in steps:
        fields = _fields(step.after)
        asked, news[step.row.name] = _asked_of(step, engines.get(step.row.name))
        if _ENGINE_KEYS & set(step.differing):
            fields["memory_bytes"] = None  # it was measured with others
        noted = configuration_files.agreed(step.row)
        Model.objects.filter(pk=step.row.pk).update(**fields, **asked, **noted)
        old, new = as_data(step.before), as_data(step.after)
        record(
            "model_changed",
            by,
            Subject("", step.row.name),
            before={key: old[key] for key in step.differing},
            after={key: new[key] for key in step.differing},
        )
    return touched, news


def _engines_of(names: list[str]) -> dict[str, Engine | None]:
    """The engine that speaks for each model."""
    rows = Model.objects.filter(pk__in=names).prefetch_related("engines") if names else ()
    return {row.name: row.engine for row in rows}


def _move_default(steps: list[_Step], by: Actor) -> set[str]:
    """Take it from the model that has it, where another one is to have it: there is one at most."""
    wanted = [step for step in steps if step.after.default and not step.before.default]
    if not wanted:
        return set()
    ours = {step.row.name for step in steps}
    rows = Model.objects.select_for_update().prefetch_related("aliases")
    losing = rows.filter(is_default=True).first()
    if losing is None:
        return set()
    fields: dict[str, Any] = {"is_default": False}
    if losing.name not in ours:
        _refuse_edited(losing)
        fields |= configuration_files.agreed(losing)
        change = ({"default": True}, {"default": False})
        record("model_changed", by, Subject("", losing.name), before=change[0], after=change[1])
    Model.objects.filter(pk=losing.pk).update(**fields)
    return {losing.name}


def _set_aliases(steps: list[_Step]) -> None:
    """All that go before any that come: an alias may move from one model to another."""
    changed = [step for step in steps if step.before.aliases != step.after.aliases]
    if not changed:
        return
    ModelAlias.objects.filter(model__in=[step.row.name for step in changed]).delete()
    ModelAlias.objects.bulk_create(
        ModelAlias(name=alias, model_id=step.row.name)
        for step in changed
        for alias in step.after.aliases
    )


def _fields(after: Configuration) -> dict[str, Any]:
    return {
        "description": after.description,
        "backend": after.backend,
        "options": after.options,
        "capabilities": list(after.capabilities),
        "replicas": after.replicas,
        "pinned": after.pinned,
        "is_default": after.default,
        "enabled": after.enabled,
        "idle_timeout_s": after.idle_timeout,
    }


def _asked_of(step: _Step, engine: Engine | None) -> tuple[dict[str, datetime | None], EngineNews]:
    """What the engine process is asked to do: it drains an engine before it ends it."""
    is_loaded = engine is not None and engine.state not in NOT_LOADED
    now = timezone.now()
    if step.before.enabled and not step.after.enabled:
        if is_loaded:
            return {"unload_asked_at": now, "wanted_at": None}, "unloading"
        return {"wanted_at": None}, "unchanged"
    if not step.after.enabled or not _ENGINE_KEYS & set(step.differing):
        return {}, "unchanged"
    if is_loaded:
        return {"unload_asked_at": now, "wanted_at": now}, "restarting"
    if engine is not None and engine.state == EngineState.FAILED:
        return {"wanted_at": now}, "restarting"  # it may start now
    return {}, "next load"


def _tell(touched: set[str]) -> None:
    """Once it is committed: every worker, who is not to wait for a slow disk, and the files."""
    if touched:
        generations().bump(ENGINES)
        configuration_files.keep(*touched)
