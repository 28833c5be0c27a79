"""Installing and deleting a backend: the work of an operation, and the deletion that is not one."""

import ipaddress
import time
from typing import Any

from accounts.runtime import env, generations
from core.errors import ConflictError, GatehouseError, NotFoundError
from core.fetch_addresses import FetchError, addresses_of, read_url
from core.generations import ENGINES
from inference import backends_here
from inference.backend_galleries import NOT_ALLOWED, Offer, find, offers_at
from inference.hardware import hardware
from inference.installing import InstallError, Report, install_backend
from inference.models import Engine, EngineState, Operation
from inference.recipe_schema import is_backend_name

QUIET_S = 1.5  # the engine process looks twice a second which backends there are
_ENDED = (EngineState.STOPPED, EngineState.FAILED)


def install(operation: Operation, report: Report) -> None:
    """Install what is asked for beside what is there, then have it count (R-33).

    Raises InstallError where nobody offers it or it may not be installed here.
    """
    offer = _wanted(operation)
    recipe = offer.recipe
    if not offer.is_allowed:
        raise InstallError(NOT_ALLOWED)
    if not set(recipe.hardware) & set(hardware()):
        kinds = " or ".join(recipe.hardware)
        raise InstallError(f"{recipe.name} wants {kinds}, which this machine does not have.")
    if offer.uri:
        _judge_indexes(offer)
    alias = str(operation.details.get("alias", ""))
    install_backend(
        recipe,
        env().backends_path,
        report,
        note=backends_here.note_of(offer, alias=alias),
        made_by=str(operation.pk),
        only_wheels=bool(offer.uri),
    )
    # what a new release installs by itself removes nothing (`asked_by` is nobody then)
    backends_here.make_current(recipe, replaces=bool(operation.asked_by))
    generations().bump(ENGINES)


def delete(operation: Operation, report: Report) -> None:
    """Raises InstallError where there is no such backend, or engines of it run."""
    report(10, "letting go of it", phase="removing")
    try:
        remove(operation.target)
    except GatehouseError as exc:
        raise InstallError(exc.message) from exc


def remove(name: str) -> None:
    """Remove every version of a backend. Its models stay, and say what they miss (R-05).

    Raises NotFoundError, ConflictError while engines of it run: those are an admin's to stop.
    """
    folders = backends_here.versions(name) if is_backend_name(name) else []
    if not folders:
        raise NotFoundError(f"no backend found with name {name[:100]}")
    refuse_in_use(name)
    backends_here.take_down(folders)
    generations().bump(ENGINES)
    try:
        until = (
            time.monotonic() + QUIET_S
        )  # who began to start an engine a moment ago has it by then
        while time.monotonic() < until:
            refuse_in_use(name)
            time.sleep(0.1)
    except ConflictError:
        backends_here.put_back(folders)
        generations().bump(ENGINES)
        raise
    # an engine that an upgrade replaced may still be at its last stream
    backends_here.remove([each for each in folders if not backends_here.is_replaced(each)])
    generations().bump(ENGINES)


def refuse_in_use(name: str) -> None:
    """Raises ConflictError while a model of this machine runs on the backend `name`."""
    running = Engine.objects.filter(model__backend=name).exclude(state__in=_ENDED)
    models = sorted(running.values_list("model_id", flat=True)[:20])
    if models:
        shown = ", ".join(models)
        raise ConflictError(f"{name} is in use: stop these models first: {shown}"[:500])


def upgrades() -> dict[str, dict[str, str]]:
    """Installed backends of which another version is offered, by name (surface, H)."""
    found = {}
    for name, here in backends_here.installed_backends().items():
        offer = find(name, offline=True)
        if offer is not None and offer.recipe.digest != here.recipe.digest:
            found[name] = {
                "backend_name": name,
                "installed_version": here.recipe.version,
                "available_version": offer.recipe.version,
            }
    return found


def _wanted(operation: Operation) -> Offer:
    details: dict[str, Any] = operation.details
    if "uri" in details:
        try:
            offered = offers_at(details["uri"])
        except GatehouseError as exc:
            raise InstallError(exc.message) from exc
        for each in offered:
            if each.recipe.name == operation.target:
                return each
        raise InstallError("The recipe is not at this address any more.")
    asked_for = operation.asked_for or operation.target
    found = find(asked_for)
    if found is None:
        raise InstallError(f"no backend found with name {asked_for[:200]}")
    return found


def _judge_indexes(offer: Offer) -> None:
    """pip connects by itself; that an index lies inside this network is refused before (R-06)."""
    allow = tuple(ipaddress.ip_network(each, strict=False) for each in env().fetch_allow)
    for step in offer.recipe.install:
        if step.index:
            try:
                addresses_of(read_url(step.index), allow=allow)
            except FetchError as exc:
                raise InstallError(str(exc)) from exc
