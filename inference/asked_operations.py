"""What an admin asks for that takes long, with its line in the audit trail (W-18)."""

from typing import Any

from django.db import transaction

from accounts.audit import Action as AuditAction
from accounts.audit import Actor, Subject, record
from core.errors import ConflictError, NotFoundError
from inference import operations
from inference.model_configuration import READ_ONLY, Configuration, as_data
from inference.models import Operation, OperationState
from inference.operations import Action, Kind, Wish, enqueue_once

_RECORDED_AS: dict[tuple[str, str], AuditAction] = {
    (Kind.MODEL, Action.INSTALL): "model_imported",
    (Kind.MODEL, Action.DELETE): "model_deleted",
    (Kind.BACKEND, Action.INSTALL): "backend_installed",
    (Kind.BACKEND, Action.DELETE): "backend_deleted",
}


def start(wish: Wish, *, key: str, by: Actor) -> Operation:
    """Ask for it. Raises what `enqueue_once` does."""
    with transaction.atomic():
        job = enqueue_once(wish, key=key)
        action = _RECORDED_AS[wish.kind, wish.action]
        record(action, by, Subject(job.pk, wish.target), after=_recorded(wish))
    return job


def again(operation_id: str, *, by: Actor) -> Operation:
    """Ask anew for what failed or was cancelled, and take that off the list.

    Raises NotFoundError, ConflictError where it has not ended, or what `enqueue` does.
    """
    found = operations.find(operation_id)
    if found is None:
        raise NotFoundError("could not find any status for ID")
    if found.state not in {OperationState.FAILED, OperationState.CANCELLED}:
        raise ConflictError("It has not failed.")
    details = operations.asked_in(found.details)
    wish = Wish(found.kind, found.action, found.target, found.asked_for, by.name, details)
    with transaction.atomic():
        operations.dismiss(operation_id)
        return start(wish, key="", by=by)


def _recorded(wish: Wish) -> dict[str, Any]:
    """Where it comes from and what is configured of it; no address with its query, which may be secret."""
    given = wish.details.get("configuration", {})
    plain = as_data(Configuration(name=wish.target)) if given else {}
    chosen = {key: given[key] for key in plain if key not in READ_ONLY and given[key] != plain[key]}
    if aliases := wish.details.get("aliases"):
        chosen["aliases"] = aliases
    if uri := wish.details.get("uri"):
        chosen["uri"] = uri.partition("?")[0]
    return {"from": wish.asked_for, **chosen}
