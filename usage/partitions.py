"""The months that PostgreSQL keeps events in: one partition each, by the time that is in the id.

Elsewhere there is one table, and everything here does nothing.
"""

import re
from datetime import UTC, datetime

from django.db import connection, transaction

from usage.buckets import first_id, milliseconds, start_of
from usage.models import Grain, UsageEvent

TABLE = UsageEvent._meta.db_table  # noqa: SLF001
MONTHS_AHEAD = 3
_NAME = re.compile(rf"{TABLE}_(\d{{4}})_(\d\d)")


def are_used() -> bool:
    return connection.vendor == "postgresql"


def name_of(month: int) -> str:
    return f"{TABLE}_{month // 12:04d}_{month % 12 + 1:02d}"


def _bounds(month: int) -> tuple[str, str]:
    ends = (start_of(Grain.MONTH, month), start_of(Grain.MONTH, month + 1))
    low, high = (str(first_id(milliseconds(end))) for end in ends)
    return low, high


def months() -> list[int]:
    """The months that have a partition, oldest first."""
    if not are_used():
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = %s::regclass",
            [TABLE],
        )
        found = [_NAME.fullmatch(name) for (name,) in cursor.fetchall()]
    return sorted(int(each[1]) * 12 + int(each[2]) - 1 for each in found if each)


def ensure(now: datetime | None = None) -> None:
    """Make the partitions of last month to `MONTHS_AHEAD` from now, where they are missing."""
    if not are_used():
        return
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    this = moment.year * 12 + moment.month - 1
    there = set(months())
    for month in range(this - 1, this + MONTHS_AHEAD + 1):
        if month not in there:
            make(month)


def make(month: int) -> None:
    """One partition. What the catch-all partition already has of that month moves over."""
    low, high = _bounds(month)
    name, rest = name_of(month), f"{TABLE}_rest"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '5s'")
        cursor.execute(
            f"CREATE TABLE {name} (LIKE {TABLE} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
        )
        cursor.execute(
            f"WITH moved AS (DELETE FROM {rest} WHERE id >= %s AND id < %s RETURNING *) "  # noqa: S608
            f"INSERT INTO {name} SELECT * FROM moved",
            [low, high],
        )
        cursor.execute(
            f"ALTER TABLE {TABLE} ATTACH PARTITION {name} FOR VALUES FROM ('{low}') TO ('{high}')"
        )


def drop_before(cutoff: datetime) -> list[str]:
    """Drop every partition that holds nothing of `cutoff` or later; their names."""
    dropped = []
    for month in months():
        if start_of(Grain.MONTH, month + 1) <= cutoff:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '5s'")
                cursor.execute(f"DROP TABLE {name_of(month)}")
            dropped.append(name_of(month))
    return dropped
