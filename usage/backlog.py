"""What is in the journal and not yet in the database, for whoever watches."""

import itertools
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from usage.drain import journal_folder
from usage.journal.lines import FINAL, RESPONSE, Record
from usage.journal.segments import is_held, read_from, segments, was_closed
from usage.journal.table import left_open
from usage.models import JournalMark
from usage.records import moment_ms

LOOK_AT_RECORDS = 1000


class Backlog(NamedTuple):
    """Bytes on disk (space reserved by living workers included), segments, and seconds since the
    oldest record that is not drained was written; `rejected_bytes` lie aside for people to look at.
    """

    n_bytes: int
    n_segments: int
    oldest_s: float
    rejected_bytes: int


def backlog(folder: Path, marks: Mapping[str, int]) -> Backlog:
    """How the journal at `folder` stands; `marks` is how far each segment was drained."""
    n_bytes = n_segments = 0
    oldest = now = time.time()
    for path in segments(folder):
        with suppress(FileNotFoundError):  # drained meanwhile
            n_bytes += path.stat().st_size
            n_segments += 1
            if (moment := _written_at(path, marks.get(path.name, 0))) is not None:
                oldest = min(oldest, moment)
    rejected = sum(path.stat().st_size for path in folder.glob("rejected*") if path.is_file())
    return Backlog(n_bytes, n_segments, now - oldest, rejected)


def backlog_now() -> Backlog:
    """This machine's."""
    folder = journal_folder()
    there = JournalMark.objects.filter(pk__in=[path.name for path in segments(folder)])
    return backlog(folder, dict(there.values_list("segment", "offset")))


def _written_at(path: Path, offset: int) -> float | None:
    """When the first record past `offset` that a drain would bring was written; None without one.

    While its worker lives, a request that is still open is not waiting for a drain.
    """
    held = is_held(path)
    records, _ = read_from(path, offset, limit=LOOK_AT_RECORDS, held=held)
    # neither names nor the closing line
    ended = (each for each in records if each and each["k"] in {FINAL, RESPONSE})
    waiting = list(itertools.islice(ended, 1))
    if not held and not was_closed(path):
        waiting += left_open(path).values()
    return min(map(_moment, waiting), default=None)


def _moment(record: Record) -> float:
    """When a record was written: its id, or `t`, says when its request began, `d` how long it took."""
    began = float(record["t"]) if "t" in record else moment_ms(record["id"]) / 1000
    return began + float(record.get("d", 0)) / 1000
