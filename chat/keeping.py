"""What the desk asks of the database, in threads: texts so far, leases, who asked to stop, endings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction

from chat import leases
from chat.models import Message, Status


@dataclass(frozen=True, slots=True)
class Progress:
    """What came of one answer so far."""

    id: UUID
    content: str
    reasoning: str
    completion_tokens: int | None
    first_token_ms: int | None


@dataclass(frozen=True, slots=True)
class Asked:
    """Of the answers that were looked at: those that are to stop, and those that are not there any more."""

    to_stop: list[UUID]
    gone: list[UUID]


def keep_up(texts: Sequence[Progress], under_way: Sequence[UUID], *, renew: bool) -> Asked:
    """Write down what came, renew leases, see what others asked for: one short transaction for all.

    Without anything to write it is one query, which waits for nobody.
    """
    if texts or renew:
        with transaction.atomic():
            for each in texts:
                _write(each)
            if renew:
                mine = Message.objects.filter(pk__in=under_way, status=Status.STREAMING)
                mine.update(lease_until=leases.lease())
    rows = Message.objects.filter(pk__in=under_way)
    found = dict(rows.values_list("pk", "stop_asked"))
    to_stop = [message_id for message_id, asked in found.items() if asked]
    return Asked(to_stop, [each for each in under_way if each not in found])


def _write(progress: Progress) -> None:
    Message.objects.filter(pk=progress.id, status=Status.STREAMING).update(
        content=progress.content,
        reasoning=progress.reasoning,
        completion_tokens=progress.completion_tokens,
        first_token_ms=progress.first_token_ms,
    )


def end(message_id: UUID, fields: dict[str, Any]) -> None:
    """The last word on an answer. One that was deleted meanwhile is left deleted."""
    rows = Message.objects.filter(pk=message_id)
    rows.update(**fields, lease_until=None, stop_asked=False)
