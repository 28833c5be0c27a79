"""Single events and traces go when they are old (`LOCALAI_USAGE_RETENTION`); the events' sums stay.

In small steps, so that nobody waits for it: on PostgreSQL whole months are dropped at once, and what
is left of the oldest month goes as everywhere, some thousand rows a transaction.
"""

import time
from datetime import datetime, timedelta

from django.db import connection, transaction

from accounts.runtime import env
from core.durations import parse_duration
from usage import partitions
from usage.buckets import first_id, milliseconds
from usage.models import RetentionMark, UsageEvent
from usage.traces import rows as traces

STEP_ROWS, PAUSE_S = 2000, 0.05
_TABLE = UsageEvent._meta.db_table  # noqa: SLF001


def kept_for() -> timedelta | None:
    """How long single events are kept; None for ever."""
    text = env().usage_retention
    return parse_duration(text) if text else None


def expired_before() -> datetime | None:
    """Before this moment events may be missing; None where none ever went."""
    mark = RetentionMark.objects.first()
    return mark.expired_before if mark else None


def expire(now: datetime, *, limit_s: float = 60.0) -> int:
    """Delete events older than the setting says, for at most `limit_s` seconds; how many rows went.

    Partitions that were dropped are not counted.
    """
    keep = kept_for()
    if keep is None:
        return 0
    cutoff = now - keep
    before = expired_before()
    if before is None or before < cutoff:  # said first: a kill in between leaves no false claim
        RetentionMark.objects.update_or_create(pk=1, defaults={"expired_before": cutoff})
    traces.expire(milliseconds(cutoff) * 1000)
    partitions.drop_before(cutoff)
    until, total = time.monotonic() + limit_s, 0
    while time.monotonic() < until:
        gone = _step(cutoff)
        total += gone
        if gone < STEP_ROWS:
            break
        time.sleep(PAUSE_S)
    return total


def _step(cutoff: datetime) -> int:
    low = first_id(milliseconds(cutoff))
    bound = str(low) if connection.vendor == "postgresql" else low.hex
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {_TABLE} WHERE id IN "  # noqa: S608
            f"(SELECT id FROM {_TABLE} WHERE id < %s ORDER BY id LIMIT {STEP_ROWS})",
            [bound],
        )
        return int(cursor.rowcount)
