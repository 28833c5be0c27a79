"""A worker of the web process as the ledger sees it: what it writes, and the ways it ends."""

import os
from unittest import mock

from usage import metering
from usage.journal.writer import Journal
from usage.tests.plain_books import Asked


class Worker:
    """One writer and the requests it has under way, each with what the caller will be told."""

    def __init__(self, folder) -> None:
        self._folder = folder
        self.open: list[tuple[metering.Event, Asked]] = []
        self.journal = self._new()

    def _new(self) -> Journal:
        return Journal(self._folder, segment_bytes=2500)

    def fall(self) -> None:
        """As after a kill: the lock is gone, nothing was said, the reserved space stays."""
        _let_go(self.journal._segment)
        self._end_all()

    def fall_between_two_segments(self) -> None:
        """The next segment was begun with what is open, the last was not closed yet: both have it."""
        before = self.journal._segment
        if before is not None:
            with mock.patch.object(self.journal, "_end_segment"):
                self.journal._start_segment(0)
            _let_go(before)
        self.fall()

    def stop(self) -> None:
        self.journal.close()
        self._end_all()

    def _end_all(self) -> None:
        for _, asked in self.open:
            asked.end(asked.last_progress)
        self.open = []
        self.journal = self._new()


def _let_go(segment) -> None:
    if segment is not None:
        segment.map.close()
        os.close(segment._fd)
