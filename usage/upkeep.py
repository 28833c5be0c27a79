"""What the background process does for the books besides draining, now and then."""

import logging
import time
from datetime import UTC, datetime, timedelta

from django.db import DatabaseError

from usage import books, partitions, retention
from usage.models import JournalMark
from usage.quotas.store import forget_counters_without_rule

log = logging.getLogger("gatehouse.books")
CHECK_EVERY_S, TIDY_EVERY_S = 600.0, 3600.0
MARKS_KEPT = timedelta(days=400)


class Upkeep:
    """Keeps partitions ahead, lets old events go, compares the books. `run` returns soon."""

    def __init__(self) -> None:
        self._checked_at = self._tidied_at = float("-inf")

    def run(self) -> None:
        """Do what is due. Raises nothing of the database's: the next round comes."""
        now = time.monotonic()
        try:
            if now - self._tidied_at > TIDY_EVERY_S:
                self._tidied_at = now
                tidy(datetime.now(UTC))
            if now - self._checked_at > CHECK_EVERY_S:
                self._checked_at = now
                books.check(datetime.now(UTC))
        except DatabaseError as exc:
            log.warning("upkeep of the books waits: %s", type(exc).__name__)


def tidy(now: datetime) -> None:
    """Each by itself: what one has to wait for does not hold up the others."""
    for work in (
        lambda: partitions.ensure(now),
        lambda: retention.expire(now),
        lambda: JournalMark.objects.filter(done_at__lt=now - MARKS_KEPT).delete(),
        forget_counters_without_rule,
    ):
        try:
            work()
        except DatabaseError as exc:
            log.warning("upkeep of the books waits: %s", type(exc).__name__)
