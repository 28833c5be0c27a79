"""A worker of the web process as the ledger sees it: what it writes, and the ways it ends."""

import os

from usage import metering
from usage.journal import Journal
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
        segment = self.journal._segment
        if segment is not None:
            segment._map.close()
            os.close(segment._fd)
        self._end_all()

    def fall_between_two_segments(self) -> None:
        """The next segment was begun with what is open, the last was not closed yet: both have it."""
        told = {number for _, number in self.journal._open.values() if number}
        carried = b"".join(self.journal._named[number] for number in sorted(told))
        carried += b"".join(line for line, _ in self.journal._open.values())
        if self.journal._segment is not None:
            (self._folder / f"{self.journal._name}-next.journal").write_bytes(carried)
        self.fall()

    def stop(self) -> None:
        self.journal.close()
        self._end_all()

    def _end_all(self) -> None:
        for _, asked in self.open:
            asked.end(asked.last_progress)
        self.open = []
        self.journal = self._new()
