"""Moments that callers name."""

from datetime import UTC, datetime


def in_utc(moment: datetime) -> datetime:
    """An aware moment in UTC: PostgreSQL takes no offset of 16 hours and more, Python does.

    Raises ValueError where its year in UTC is none that a datetime can have.
    """
    try:
        return moment.astimezone(UTC)
    except OverflowError as exc:
        raise ValueError("the moment is out of range") from exc
