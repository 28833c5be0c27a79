"""What the desk asks of the database, in threads: texts so far, leases, who asked to stop, endings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction

from chat import leases
from chat.models import Message, Status


@dataclass(frozen=True, slots=True)
class Progress:
    """What came of one answer so far. `token` is whose it is: its correlation id."""

    id: UUID
    token: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """Of the answers that were looked at: those that are to stop, and those that are not this process's any
    more: deleted, or given up for dead and perhaps begun anew elsewhere.
    """

    to_stop: list[UUID]
    gone: list[UUID]


def keep_up(texts: Sequence[Progress], under_way: Mapping[UUID, str], *, renew: bool) -> Asked:
    """Write down what came, renew leases, see what others asked for: one short transaction for all.

    `under_way` has the token of each answer that is written here. Without anything to write it is one
    query, which waits for nobody.
    """
    streaming = Message.objects.filter(status=Status.STREAMING)
    if texts or renew:
        with transaction.atomic():
            for each in texts:
                streaming.filter(pk=each.id, correlation_id=each.token).update(**each.fields)
            if renew:
                streaming.filter(pk__in=list(under_way)).update(lease_until=leases.lease())
    rows = streaming.filter(pk__in=list(under_way))
    found = {
        message_id: asked
        for message_id, token, asked in rows.values_list("pk", "correlation_id", "stop_asked")
        if under_way[message_id] == token
    }
    to_stop = [message_id for message_id, asked in found.items() if asked]
    return Asked(to_stop, [each for each in under_way if each not in found])


def end(message_id: UUID, token: str, fields: dict[str, Any]) -> None:
    """The last word on an answer. One that was deleted, or is another's now, is left as it is."""
    rows = Message.objects.filter(pk=message_id, correlation_id=token)
    rows.update(**fields, lease_until=None, stop_asked=False)
