"""Rows of stored responses: written by the journal's drain, read by their owner."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from inference.models import StoredResponse
from usage.drain import drain
from usage.journal.lines import Record

KEEP = timedelta(days=30)


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
    oldest = timezone.now() - KEEP
    return StoredResponse.objects.filter(
        pk=response_id, user_id=user_id, created_at__gt=oldest
    ).first()


def load(response_id: str, user_id: str) -> dict[str, Any] | None:
    """For the lane's `previous_response_id`, run off its loop."""
    stored = find(response_id, user_id=user_id)
    return {"response": stored.response, "input": stored.input} if stored else None


def sweep() -> int:
    """Delete what is older than 30 days; how many went."""
    deleted, _ = StoredResponse.objects.filter(created_at__lte=timezone.now() - KEEP).delete()
    return deleted
