"""`make bench-usage`: the books, in one run on one machine. Prints Markdown for docs/performance.md.

Parts (`--only`, comma-separated): `drain`, `reports`, `litellm`, `recording`. Databases are made under
.bench and removed at the end; `--keep` leaves those of `reports` for the next run, which then does not
load them again. `--quick` takes small sizes to see that everything works, and no LiteLLM unless asked.
"""

import argparse
import datetime as dt
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from bench import usage_recording
from bench.litellm_books import LiteLLMBooks
from bench.litellm_books import measure as measure_litellm
from bench.processes import ROOT
from bench.run import machine
from bench.usage_tables import dump_rows, report_rows, stored, verdict
from tests.postgresql import Cluster

FOLDER = ROOT / ".bench"
OPTIONS = (
    *("shared_buffers=2GB", "effective_cache_size=8GB", "work_mem=64MB"),
    *("maintenance_work_mem=512MB", "max_wal_size=8GB", "checkpoint_timeout=30min"),
    *("wal_level=minimal", "max_wal_senders=0", "random_page_cost=1.1"),
)
PARTS = ("drain", "reports", "litellm", "recording")
LIMIT_S = 5400
EVENTS_PER_S, BYTES_PER_EVENT, P95_MS, MOST_RATIO = 20_000, 300, 100, 2


class Database:
    """One database and data path, and the programs that run on it."""

    def __init__(self, folder: Path, url: str) -> None:
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("LOCALAI_")},
            "LOCALAI_DATA_PATH": str(folder),
            "LOCALAI_AUTH_DATABASE_URL": url,
            "LOCALAI_AUTH": "true",
            "LOCALAI_AUTH_RATE_LIMIT": "0",
            "LOCALAI_ALLOWED_HOSTS": "localhost",
            "LOCALAI_MODELS": "",
            "DJANGO_SETTINGS_MODULE": "localai_project.settings",
        }

    def migrate(self) -> None:
        self._run("manage.py", "migrate", "-v0")

    def ask(self, module: str, what: str, number: int = 0) -> dict[str, Any]:
        """The JSON object that `python -m module what number` prints."""
        found: dict[str, Any] = json.loads(self._run("-m", module, what, str(number)))
        return found

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            env=self._environment,
            stdout=subprocess.PIPE,
            check=True,
            text=True,
            timeout=LIMIT_S,
        )
        return done.stdout


class Bench:
    """The cluster that all parts share, and what they found."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.sizes = arguments
        self.folder = FOLDER / ("usage-quick" if arguments.quick else "usage")
        self.verdicts: list[str] = []
        self.ours: list[str] = []
        self._cluster: Cluster | None = None

    @property
    def cluster(self) -> Cluster:
        if self._cluster is None:
            folder = self.folder / "postgresql"
            self._cluster = Cluster(folder, options=OPTIONS, keep=self.sizes.keep)
        return self._cluster

    def database(self, kind: str, name: str) -> Database:
        """One that is there already, or a new one."""
        url = ""
        if kind == "PostgreSQL":
            self.cluster.ensure(name)
            url = self.cluster.url(name)
        return Database(self.folder / f"{kind}-{name}", url)

    def judge(self, what: str, found: float, wanted: str, *, met: bool, unit: str = "") -> None:
        self.verdicts.append(verdict(what, found, wanted, met=met, unit=unit))

    # --- drain --------------------------------------------------------------------------------

    def drain(self) -> Iterator[str]:
        few, many = self.sizes.journal // 4, self.sizes.journal
        yield f"\n### Draining: journals of {few:,}, then of {many:,} events, closed workers' segments\n"
        yield "| | events | events/s | CPU s of the process | memory before | at its peak | rows written an event |"
        yield "|---|---|---|---|---|---|---|"
        told: list[str] = []
        for kind in ("PostgreSQL", "SQLite"):
            database = self.database(kind, "drain")
            database.migrate()
            for n in (few, many):
                found, more = self._drained(database, n, kind)
                rate = found["events"] / found["seconds"]
                cells = (f"{n:,}", f"{rate:,.0f}", f"{found['cpu_s']:.1f}")
                memory = (f"{found['before_mb']:.0f} MB", f"{found['peak_mb']:.0f} MB")
                cells = (*cells, *memory, f"{found['rows'] / found['events']:.2f}")
                yield f"| {kind} | {' | '.join(cells)} |"
            told += more
            name = f"events/s drained into {kind}"
            self.judge(name, rate, f"{EVENTS_PER_S:,}", met=rate >= EVENTS_PER_S)
            cells = (f"{rate:,.0f}", f"{found['rows'] / found['events']:.2f}")
            self.ours.append(f"| drained into {kind} | {' | '.join(cells)} |")
        yield "\n" + "\n".join(told)

    def _drained(self, database: Database, n: int, kind: str) -> tuple[dict[str, Any], list[str]]:
        module = "bench.usage_drain"
        database.ask(module, "write", n)
        if kind == "SQLite":
            return database.ask(module, "drain"), []
        before = database.ask(module, "written")
        found = database.ask(module, "drain")
        after = database.ask(module, "written")
        rows = {
            name: sum(counts) - sum(before["rows"].get(name, (0, 0)))
            for name, counts in after["rows"].items()
        }
        found["rows"] = sum(rows.values())
        if n != self.sizes.journal:
            return found, []
        size = after["bytes"] / after["n"]
        met = size <= BYTES_PER_EVENT
        self.judge("bytes an event on PostgreSQL, indexes included", size, "at most 300", met=met)
        each = ", ".join(f"{name} {rows[name] / n:.2f}" for name in sorted(rows) if rows[name])
        told = f"Rows inserted and updated an event on PostgreSQL: {each}. On top comes one in a temporary table that COPY goes through."
        return found, [told]

    # --- reports ------------------------------------------------------------------------------

    def reports(self) -> Iterator[str]:
        sizes = self.sizes
        for kind, large in (("PostgreSQL", sizes.events), ("SQLite", sizes.sqlite_events)):
            if kind.lower() not in sizes.databases:
                continue
            yield f"\n### Reports on {kind}, {sizes.small:,} and {large:,} events\n"
            found = []
            for n in (sizes.small, large):
                database, loaded = self._loaded(kind, n)
                yield stored(n, loaded)
                found.append(database.ask("bench.usage_reports", "measure", sizes.calls))
            small, big = (each["reports"] for each in found)
            yield from report_rows(small, big, sizes.small, large)
            yield from dump_rows(found[0]["shown"], found[1]["shown"], sizes.small, large)
            self._judge_reports(kind, small, big, sizes.small, large)

    def _loaded(self, kind: str, n: int) -> tuple[Database, dict[str, Any]]:
        database = self.database(kind, f"events_{n}")
        kept = self.folder / f"{kind}-events_{n}.json"
        if not kept.exists():
            database.migrate()
            kept.write_text(json.dumps(database.ask("bench.usage_reports", "load", n)))
        return database, json.loads(kept.read_text())

    def _judge_reports(
        self, kind: str, small: dict[str, Any], big: dict[str, Any], few: int, many: int
    ) -> None:
        for n, reports in ((few, small), (many, big)):
            name = max(reports, key=lambda each: reports[each]["p95"])
            slowest = reports[name]["p95"]
            what = f"{kind}, {n:,} events: slowest p95 ({name})"
            self.judge(what, slowest, "under 100 ms", met=slowest < P95_MS, unit=" ms")
        ratios = {name: big[name]["p95"] / small[name]["p95"] for name in big}
        name = max(ratios, key=lambda each: ratios[each])
        what = f"{kind}: largest p95 at {many:,} / at {few:,} ({name})"
        self.judge(what, ratios[name], "at most 2", met=ratios[name] <= MOST_RATIO)
        month = (("one user's usage, month", big), ("totals by user, month", big))
        for report, reports in month:
            p50 = reports[report]["p50"]
            self.ours.append(f"| {kind}, {many:,} events: {report}, p50 {p50:.1f} ms | | |")

    # --- the others ---------------------------------------------------------------------------

    def litellm(self) -> Iterator[str]:
        yield "\n### LiteLLM's books on the same cluster\n"
        self.cluster.ensure("litellm")
        with closing(LiteLLMBooks(self.cluster.url("litellm"))) as books:
            books.create()
            size = {"days": 40, "requests": 1000} if self.sizes.quick else {}
            yield from measure_litellm(books, **size)
        if self.ours:
            yield "\n| ours in the same run | events/s | rows written an event |\n|---|---|---|"
            yield from self.ours

    def recording(self) -> Iterator[str]:
        yield "\n### What recording costs a request\n"
        lines, shares = usage_recording.measure(self.sizes.pairs, self.sizes.seconds)
        yield from lines
        most = 1 + usage_recording.TO_REACH
        for way, share in shares.items():
            what = f"CPU of the web worker with books / without, {way}, {share}"
            self.judge(what, share.mean, "at most 1.08", met=share.high <= most)

    def stop(self) -> None:
        if self._cluster is not None:
            self._cluster.stop()
        if not self.sizes.keep:
            shutil.rmtree(self.folder, ignore_errors=True)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    parser.add_argument("--databases", default="postgresql,sqlite", help="of the reports")
    parser.add_argument("--events", type=int, default=100_000_000)
    parser.add_argument("--sqlite-events", type=int, default=10_000_000)
    parser.add_argument("--small", type=int, default=1_000_000)
    parser.add_argument("--journal", type=int, default=200_000)
    parser.add_argument("--calls", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--quick", action="store_true")
    found = parser.parse_args()
    parts = [name for name in PARTS if not found.quick or name != "litellm"]
    found.only = found.only.split(",") if found.only else parts
    if found.quick:
        found.events = found.sqlite_events = found.small = 20_000
        found.journal, found.calls, found.pairs, found.seconds = 8_000, 5, 3, 1
    return found


def main() -> None:
    arguments = parsed()
    shown = " ".join(["make bench-usage", *sys.argv[1:]])
    print(f"## {shown}, {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC\n\n{machine()}\n", flush=True)
    print(f"PostgreSQL's settings: {', '.join(OPTIONS)}, fsync=off.", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is stopped then, too
    bench = Bench(arguments)
    parts: dict[str, Callable[[], Iterator[str]]] = {name: getattr(bench, name) for name in PARTS}
    try:
        for name in PARTS:
            for line in parts[name]() if name in arguments.only else ():
                print(line, flush=True)
    finally:
        bench.stop()
    print("\n| what | found | to reach | met |\n|---|---|---|---|")
    print("\n".join(bench.verdicts))


if __name__ == "__main__":
    main()
