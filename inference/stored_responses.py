"""Rows of stored responses: written by the journal's drain, read by their owner."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.utils import timezone

from accounts.runtime import stored_settings
from accounts.runtime_settings.in_force import value
from core.durations import parse_duration
from inference.models import StoredResponse
from usage.drain import drain
from usage.journal.lines import Record


def _kept_since() -> datetime:
    """Whatever is older is not there any more; the setting's "0" keeps all."""
    stored_settings().fresh()
    ttl = value("open_responses_store_ttl")
    if ttl == "0":
        return datetime.fromtimestamp(0, tz=UTC)
    return timezone.now() - parse_duration(ttl)


def insert(records: Sequence[Record]) -> None:
    """The sink of the journal's `r` records."""
    StoredResponse.objects.bulk_create(
        [
            StoredResponse(
                id=record["id"][:100],
                user_id=record["u"],
                created_at=datetime.fromtimestamp(record["t"], tz=UTC),
                response=record["body"]["response"],
                input=record["body"]["input"],
            )
            for record in records
        ],
        ignore_conflicts=True,
        batch_size=100,
    )


def find(response_id: str, *, user_id: str) -> StoredResponse | None:
    """The stored response of this owner; nobody else's is there for them."""
    drain()
    return StoredResponse.objects.filter(
        pk=response_id, user_id=user_id, created_at__gt=_kept_since()
    ).first()


def load(response_id: str, user_id: str) -> dict[str, Any] | None:
    """For the lane's `previous_response_id`, run off its loop."""
    stored = find(response_id, user_id=user_id)
    return {"response": stored.response, "input": stored.input} if stored else None


def sweep() -> int:
    """Delete what is older than `open_responses_store_ttl`; how many went."""
    deleted, _ = StoredResponse.objects.filter(created_at__lte=_kept_since()).delete()
    return deleted
