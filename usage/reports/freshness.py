"""How fresh a report is: the journal is brought in before it is read (S-13)."""

from datetime import datetime, timedelta

from django.utils import timezone

from usage.backlog import backlog_now
from usage.drain import drain

LIMIT_S = 5.0


def bring_in() -> datetime:
    """Bring the journal of this machine in; the moment up to which the books are complete.

    That is now, unless there is more waiting than a caller can be kept for, as after the database was
    away. What other machines have not drained yet comes on top, half a second at most.
    """
    now = timezone.now()
    if drain(LIMIT_S).complete:
        return now
    return timezone.now() - timedelta(seconds=backlog_now().oldest_s)
