"""Buckets of time in UTC: hours, days and months as numbers, and the events whose ids fall into them.

All arithmetic is on integers since 1970, so that no database's or machine's time zone and no change
of the clocks comes into it (contract 5.4).
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from usage.models.rollups import Grain

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
HOURS_A_DAY = 24
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LABELS = {Grain.HOUR: "%Y-%m-%d %H:00", Grain.DAY: "%Y-%m-%d", Grain.MONTH: "%Y-%m"}


def milliseconds(moment: datetime) -> int:
    """Since 1970."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def moment_of(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)


def hour_of(moment: datetime) -> int:
    return milliseconds(moment) // HOUR_MS


def day_of(hour: int) -> int:
    return hour // HOURS_A_DAY


def month_of(day: int) -> int:
    date = _EPOCH + timedelta(days=day)
    return date.year * 12 + date.month - 1


def first_day(month: int) -> int:
    """The first day of a month, as a bucket."""
    return (datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC) - _EPOCH).days


def start_of(grain: int, bucket: int) -> datetime:
    """When a bucket begins."""
    if grain == Grain.MONTH:
        return datetime(bucket // 12, bucket % 12 + 1, 1, tzinfo=UTC)
    return _EPOCH + (timedelta(hours=bucket) if grain == Grain.HOUR else timedelta(days=bucket))


def label(grain: int, bucket: int) -> str:
    """A bucket as reports write it (contract 5.4)."""
    return start_of(grain, bucket).strftime(_LABELS[Grain(grain)])


def first_id(ms: int) -> UUID:
    """The least UUIDv7 of a millisecond: ids below it are of earlier events."""
    return UUID(int=max(0, min(ms, 2**48 - 1)) << 80)
