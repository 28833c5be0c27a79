"""Journals as the meter writes them, and one drain of them, each in a process of its own.

`python -m bench.usage_drain write N` makes the accounts and the segments of closed workers; `… drain 0`
brings them into the database; `… written 0` says how many rows PostgreSQL has written since. Each prints
a JSON object.
"""

import json
import os
import re
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "localai_project.settings")
django.setup()

import numpy as np
import orjson
from django.db import connection

from accounts.models import User
from bench.usage_data import Shape
from bench.usage_load import people
from core.call import Call
from usage import drain as draining
from usage import partitions
from usage.journal.segments import segments
from usage.journal.writer import Journal
from usage.metering import Event
from usage.models import UsageEvent

WORKERS, AT_ONCE = 4, 32
HOUR_S = 3600


async def _nothing() -> dict[str, Any]:
    return {}


class Writer:
    """Requests of the last hour, admitted and settled through `usage.metering`, many at a time."""

    def __init__(self, n: int) -> None:
        self.shape = Shape()
        draw = np.random.default_rng()
        self.series = self.shape.pool[draw.integers(len(self.shape.pool), size=n)].tolist()
        now = time.time() * 1000
        self.moments = np.sort(now - draw.random(n) * HOUR_S * 1000).astype(int).tolist()
        self.prompt = draw.integers(20, 4000, n).tolist()
        self.completion = draw.integers(10, 800, n).tolist()
        self.fails = (draw.random(n) < 0.015).tolist()
        self.streams = (draw.random(n) < 0.6).tolist()
        folder = draining.journal_folder()
        self.journals = [Journal(folder) for _ in range(WORKERS)]

    def write(self) -> None:
        under_way: deque[tuple[int, Call, Event]] = deque()
        for index in range(len(self.series)):
            call = Call(
                method="POST", path="/", query=b"", headers={}, receive=_nothing, client="c"
            )
            journal = self.journals[index % WORKERS]
            event = Event(call, self._id(index), journal, journal.named(self._names(index)))
            event.open()
            under_way.append((index, call, event))
            if len(under_way) > AT_ONCE:
                self._settle(*under_way.popleft())
        for each in under_way:
            self._settle(*each)
        for journal in self.journals:
            journal.close()

    def _id(self, index: int) -> bytes:
        made = self.moments[index] << 80 | 7 << 76 | 2 << 62
        text = f"{made | int.from_bytes(os.urandom(7), 'big'):032x}"
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:])).encode()

    def _names(self, index: int) -> bytes:
        """Who and what, as `Meter` gives them to an event."""
        series = self.shape.series[self.series[index]]
        names = self.shape.combination(series)
        fields = {
            "u": names.user_id,
            "un": f"User {series.user}",
            "s": names.source,
            "ki": names.api_key_id,
            "kn": f"key {series.key}" if names.api_key_id else None,
            "m": names.model,
            "sm": names.served_model,
            "e": names.endpoint,
        }
        return orjson.dumps(fields)[1:]

    def _settle(self, index: int, call: Call, event: Event) -> None:
        if self.fails[index]:
            event.settle(503)
            return
        event.prompt_tokens, event.completion_tokens = self.prompt[index], self.completion[index]
        event.streamed = self.streams[index]
        call.started = time.perf_counter() - 0.1 - index % 100 / 1000
        event.deliver()
        call.started -= event.completion_tokens / 100
        event.settle(200)


def write(n: int) -> dict[str, Any]:
    writer = Writer(n)
    if not User.objects.exists():
        people(writer.shape)
    partitions.ensure()
    writer.write()
    paths = segments(draining.journal_folder())
    return {"segments": len(paths), "bytes": sum(path.stat().st_size for path in paths)}


def memory_mb(what: str) -> float:
    """VmRSS or VmHWM of this process."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1000 if found else 0.0


def drain() -> dict[str, Any]:
    """One drain of everything: events, seconds, CPU seconds, memory before and at the peak over it."""
    there = UsageEvent.objects.count()
    Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
    before = memory_mb("VmRSS")
    link: Any = connection.connection
    changes = link.total_changes if connection.vendor == "sqlite" else 0
    cpu, started = time.process_time(), time.perf_counter()
    drained = draining.drain()
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    if not drained.complete:
        raise RuntimeError("the drain left something")
    found = {
        "events": UsageEvent.objects.count() - there,
        "seconds": seconds,
        "cpu_s": cpu,
        "before_mb": before,
        "peak_mb": memory_mb("VmHWM"),
    }
    if connection.vendor == "sqlite":
        found["rows"] = link.total_changes - changes
    return found


def written() -> dict[str, Any]:
    """Rows inserted and updated so far by table, and the bytes of the events' partitions."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT regexp_replace(relname, '_\\d+_\\d+$', ''), sum(n_tup_ins), sum(n_tup_upd) "
            "FROM pg_stat_user_tables WHERE relname LIKE 'usage_%' AND relname NOT LIKE '%_stage' "
            "GROUP BY 1"
        )
        rows = {name: [int(new), int(changed)] for name, new, changed in cursor.fetchall()}
        cursor.execute(
            "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits "
            "WHERE inhparent = 'usage_event'::regclass"
        )
        return {"rows": rows, "bytes": int(cursor.fetchone()[0]), "n": UsageEvent.objects.count()}


def main() -> None:
    what, number = sys.argv[1], int(sys.argv[2])
    found = write(number) if what == "write" else {"drain": drain, "written": written}[what]()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
