"""Operations: asking for one, cancelling it, and the queue that the engine process works off."""

import hashlib
import logging
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.runtime import env, generations
from core.errors import ConflictError, InvalidRequestError
from core.generations import ENGINES
from inference.backends_here import clear_away, installed_backends, making
from inference.guarded import Guarded
from inference.hardware import host_environment
from inference.model_folders import GONE, MANIFEST, folder_name, is_model_name, model_folder
from inference.models import Model, Operation, OperationState, RequestKey

log = logging.getLogger("gatehouse.operations")
Kind, Action = Operation.Kind, Operation.Action
OPEN = (OperationState.QUEUED, OperationState.RUNNING)
KEY_LIFETIME, MAX_KEY_CHARS = timedelta(hours=24), 255
KEPT = timedelta(days=30)
WAITS_FOR = "waits_for"  # in an operation's details: the backend that has to be here first
ALREADY_CANCELLED = "the operation was already cancelled"


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks for. `asked_for` is the name as they gave it, `target` the name here."""

    kind: str
    action: str
    target: str
    asked_for: str = ""
    asked_by: str = ""
    details: dict[str, Any] = field(default_factory=dict)


def enqueue(wish: Wish) -> Operation:
    """Ask for an operation; one that is queued or running already is the same one.

    Raises ConflictError where that one is for something else of the same name.
    """
    same = {"kind": wish.kind, "action": wish.action, "target": wish.target}
    for _ in range(10):
        try:
            with transaction.atomic():
                made = Operation.objects.create(
                    **same,
                    asked_for=(wish.asked_for or wish.target)[:500],
                    asked_by=wish.asked_by[:254],
                    details=wish.details,
                    message="waiting",
                )
        except IntegrityError:
            found = Operation.objects.filter(**same, state__in=OPEN).first()
            if found is not None:
                _refuse_another(found, wish)
                return found  # else it has just ended: ask again
        else:
            generations().bump(ENGINES)
            return made
    raise ConflictError("The same operation starts and ends all the time; try again.")


def _refuse_another(found: Operation, wish: Wish) -> None:
    """Who wants another model under the same name has not got it. Raises ConflictError."""
    bare = wish.asked_for or wish.target
    same_source = bare == found.asked_for or "@" not in bare or "@" not in found.asked_for
    if asked_in(found.details) != wish.details or not same_source:
        raise ConflictError(
            f"Another {wish.kind} of that name is being installed; wait for it, or cancel it first."
        )


def asked_in(details: dict[str, Any]) -> dict[str, Any]:
    """What the caller said, without what the work noted there since."""
    return {key: value for key, value in details.items() if key not in {WAITS_FOR, "was_enabled"}}


def enqueue_once(wish: Wish, *, key: str) -> Operation:
    """The same, where the caller sent an `Idempotency-Key`: a repeat within 24 h starts nothing (R-35).

    Raises InvalidRequestError for a key that is too long, ConflictError for one that was sent with
    something else.
    """
    if not key:
        return enqueue(wish)
    if len(key) > MAX_KEY_CHARS:
        raise InvalidRequestError(f"Idempotency-Key: at most {MAX_KEY_CHARS} characters")
    digest = hashlib.sha256(f"{wish.asked_by}\0{key}".encode()).hexdigest()
    RequestKey.objects.filter(created_at__lt=timezone.now() - KEY_LIFETIME).delete()
    kept = RequestKey.objects.select_related("operation").filter(pk=digest).first()
    if kept is None:
        operation = enqueue(wish)
        kept, _ = RequestKey.objects.get_or_create(pk=digest, defaults={"operation": operation})
    earlier = kept.operation
    said = asked_in(earlier.details)
    asked_before = (earlier.kind, earlier.action, earlier.target, said)
    if asked_before != (wish.kind, wish.action, wish.target, wish.details):
        raise ConflictError("This Idempotency-Key was sent with another request before.")
    return earlier


def find(operation_id: str) -> Operation | None:
    """The operation of that id, which may be any text."""
    try:
        return Operation.objects.filter(pk=UUID(operation_id)).first()
    except ValueError:
        return None


_NOT_OVER = Q(state__in=OPEN) | Q(state=OperationState.FAILED, dismissed=False)


def listed() -> list[Operation]:
    """What is under way, and what failed and was not dismissed: one query, at most 500 rows."""
    return list(Operation.objects.filter(_NOT_OVER).order_by("progress", "asked_for", "pk")[:500])


def not_over(just_ended: timedelta) -> QuerySet[Operation]:
    """For pages: the same, and what ended so short a time ago, the oldest first; without logs."""
    recently = Q(finished_at__gte=timezone.now() - just_ended, dismissed=False)
    wanted = Operation.objects.filter(_NOT_OVER | recently)
    return wanted.defer("log_tail", "details").order_by("created_at")


def cancel(operation_id: str) -> None:
    """End one that waits, at once; ask the engine process to end one that runs.

    Raises InvalidRequestError where there is nothing to cancel.
    """
    found = find(operation_id)
    if found is not None and found.state == OperationState.QUEUED:
        ended = Operation.objects.filter(pk=found.pk, state=OperationState.QUEUED).update(
            state=OperationState.CANCELLED, message="cancelled", finished_at=timezone.now()
        )
        if ended:
            generations().bump(ENGINES)
            if found.started_at is not None:  # it began once, and left something to go on with
                clear_leftovers()
            return
        found = find(operation_id)
    if found is not None and (found.state == OperationState.CANCELLED or found.cancel_asked):
        raise InvalidRequestError(ALREADY_CANCELLED)
    if found is None or found.state not in OPEN:
        shown = operation_id[:100]
        raise InvalidRequestError(f'operation "{shown}" not found or already completed')
    if found.action == Action.DELETE:
        raise InvalidRequestError("a deletion that has begun cannot be cancelled")
    asked = Operation.objects.filter(pk=found.pk, state__in=OPEN, cancel_asked=False)
    if not asked.update(cancel_asked=True):
        raise InvalidRequestError(ALREADY_CANCELLED)
    generations().bump(ENGINES)


def dismiss(operation_id: str) -> None:
    """Take one that has ended off the list; of others, nothing."""
    found = find(operation_id)
    if found is not None:
        Operation.objects.filter(pk=found.pk).exclude(state__in=OPEN).update(dismissed=True)


def sweep() -> None:
    """Forget what ended a month ago; what failed and was not dismissed stays."""
    old = Operation.objects.filter(finished_at__lt=timezone.now() - KEPT)
    old.exclude(state__in=OPEN).exclude(state=OperationState.FAILED, dismissed=False).delete()


# --- the engine process's side ---------------------------------------------------------------------


def resume_interrupted() -> None:
    """What a dead engine process was working on goes back into the queue, under the same id (R-16)."""
    running = Operation.objects.filter(state=OperationState.RUNNING)
    running.filter(cancel_asked=True).update(
        state=OperationState.CANCELLED, message="cancelled", finished_at=timezone.now()
    )
    running.update(state=OperationState.QUEUED, message="going on after an interruption")
    clear_leftovers()


def next_queued() -> Operation | None:
    """The oldest one that may begin; what waits for a backend does not hold up the others."""
    for queued in Operation.objects.filter(state=OperationState.QUEUED).order_by("created_at"):
        backend = queued.details.get(WAITS_FOR)
        if backend is None or backend in installed_backends():
            return queued
    return None


def put_back(operation: Operation, backend: str, message: str) -> None:
    """Into the queue again, until that backend is here (R-19)."""
    Operation.objects.filter(pk=operation.pk, state__in=OPEN).update(
        state=OperationState.QUEUED,
        details={**operation.details, WAITS_FOR: backend},
        message=message[:500],
        phase="waiting",
    )
    generations().bump(ENGINES)


def start(operation: Operation) -> Guarded | None:
    """Run one in a guarded child, which writes its progress into the row itself.

    None where it was cancelled meanwhile.
    """
    began = Operation.objects.filter(pk=operation.pk, state=OperationState.QUEUED).update(
        state=OperationState.RUNNING, started_at=timezone.now(), message="starting"
    )
    if not began:
        return None
    generations().bump(ENGINES)
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "runoperation"]
    log_path = env().data_path / "logs" / "operations.log"
    return Guarded([*command, str(operation.pk)], environment=host_environment(), log=log_path)


def end_unexpectedly(operation: Operation) -> None:
    """Its child is gone: one that did not say how it ended, nor went back into the queue, failed."""
    if not Operation.objects.filter(pk=operation.pk, state=OperationState.QUEUED).exists():
        end(operation.pk, OperationState.FAILED, "The installer ended unexpectedly.")


def end(operation_id: UUID, state: str, message: str) -> bool:
    """Close an operation; False where it was closed already."""
    changed: dict[str, Any] = {"state": state, "message": message[:500]}
    if state == OperationState.DONE:
        changed["progress"] = 100
    closed = Operation.objects.filter(pk=operation_id, state__in=OPEN).update(
        **changed, phase="", finished_at=timezone.now()
    )
    generations().bump(ENGINES)
    return bool(closed)


def clean_up(operation: Operation) -> None:
    """After one that was ended by force: what it put in place, and was to have a row, goes too."""
    is_installation = (operation.kind, operation.action) == (Kind.MODEL, Action.INSTALL)
    # an adopted folder was not put there by us
    is_adoption = "configuration" in operation.details and "entry" not in operation.details
    if is_installation and not is_adoption and is_model_name(operation.target):
        folder = model_folder(operation.target, env().models_path)
        is_kept = Model.objects.filter(directory=str(folder)).exists()
        if not is_kept and (folder / MANIFEST).exists():
            shutil.rmtree(folder, ignore_errors=True)
    if operation.action == Action.DELETE and "was_enabled" in (details := _details(operation)):
        enabled = bool(details["was_enabled"])  # a deletion that broke off leaves it as it was
        Model.objects.filter(pk=operation.target).update(enabled=enabled)
    clear_leftovers()


def _details(operation: Operation) -> dict[str, Any]:
    """As they are in the table: the child that did the work writes there."""
    found = Operation.objects.filter(pk=operation.pk).values_list("details", flat=True).first()
    return dict(found or {})


def clear_leftovers() -> None:
    """Remove what our installations left half-made, but for those that will go on (R-16, R-19).

    Only what our own rows know of: several servers may share a models path.
    """
    installations = Operation.objects.filter(kind=Kind.MODEL, action=Action.INSTALL)
    known = {folder_name(name) for name in installations.values_list("target", flat=True)}
    going_on = installations.filter(state__in=OPEN)
    kept = {folder_name(name) for name in going_on.values_list("target", flat=True)}
    _clear_backends()
    try:
        found = list((env().models_path / ".staging").iterdir())
    except OSError:  # there is none, or it is out of reach just now
        return
    for folder in found:
        if folder.name in known - kept or folder.name.startswith(GONE):
            shutil.rmtree(folder, ignore_errors=True)


def _clear_backends() -> None:
    found = {}
    for text in making():
        with suppress(ValueError):
            found[UUID(text)] = text
    states = dict(Operation.objects.filter(pk__in=found).values_list("pk", "state"))
    clear_away({found[pk]: state not in OPEN for pk, state in states.items()})
