"""What LiteLLM's proxy writes into PostgreSQL per request and reads for its daily report, replayed.

The proxy itself cannot run with a database here: its Prisma client fetches an engine binary from
elsewhere. So its tables are made from the schema in its wheel (`bench.litellm_schema`) and its
statements are sent by psycopg. They were taken from these files of litellm 1.105.0's wheel:

* `litellm/proxy/utils.py` (update_spend_logs, update_spend, update_daily_tag_spend): one spend log
  per request, inserted with duplicates skipped; `litellm/proxy/db/spend_log_batching.py` and
  `litellm/constants.py`: at most 100 rows (or 2 MB) a statement.
* `litellm/proxy/db/db_spend_update_writer.py`: what one request adds up to. Without a team it still
  gives a row of the daily team table, for the team "" (the check there is for None); its two
  User-Agent tags, on by default, give two rows of the daily tag table.
* `litellm/proxy/db/db_transaction_queue/daily_spend_update_queue.py` and `spend_update_queue.py`:
  both kinds are summed up in memory between two flushes.
* `litellm/proxy/db/daily_spend_bulk_upsert.py`: up to 100 daily rows in one INSERT … ON CONFLICT DO
  UPDATE, one transaction each.
* `litellm/proxy/db/model_usage_rollup.py`: one upsert per request, at once, not summed up.
* `litellm/proxy/db/gateway_request_tracking.py`: one row per route and flush.
* `litellm/proxy/proxy_server.py`: a flush each 10 to 15 s, the tags' each 2.3 times that.
* `litellm/proxy/spend_tracking/spend_tracking_utils.py` (get_logging_payload): the spend log's
  content, prompts not stored (its default). The price record of the model makes most of it.
* `litellm/repositories/daily_activity_sql.py` and `daily_activity_repository.py`,
  `litellm/proxy/management_endpoints/common_daily_activity.py`: the reports.

Choices, each to LiteLLM's favour where its own behaviour is not plain: Prisma's engine process, its
JSON protocol and the Python that sums up or builds answers cost nothing here; its upsert is one
INSERT … ON CONFLICT and its update_many one UPDATE (older engines select first); the increments of
one transaction go out pipelined; of a report's prepared and unprepared form the faster counts;
flushes are 15 s apart, the longest; spend logs come in full statements of 100; no request has tools,
guardrails, an end user, an organisation or a budget window; no fsync (`tests.postgresql`), so that
the one commit per request is cheap.
"""

import datetime as dt
import random
import tempfile
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from psycopg.types.numeric import Int8Dumper

from bench import litellm_schema as lite
from tests.postgresql import Cluster

ROWS_PER_STATEMENT, FLUSH_S, TAG_FLUSH_S = 100, 15.0, 34.0
REPORT_DAYS, TOP_KEYS, PAGE_ROWS, LIMIT_S = 30, 100, 1000, 20.0
NOT_A_KEY = "__ptu_flat_cost__"


def _daily_rows(table: str, events: Sequence[lite.Event]) -> list[tuple[Any, ...]]:
    """The rows of one flush, summed up by the table's unique key and in its order."""
    sums: dict[tuple[str, ...], list[float]] = defaultdict(lambda: [0] * 5)
    for event in events:
        owner = lite.user_id(event.user) if table == lite.DAILY_USER else ""
        for entity in lite.tags_of(event) if table == lite.DAILY_TAG else (owner,):
            key = (entity, f"{event.at:%Y-%m-%d}", *_served(event.key, event.model))
            for i, value in enumerate((event.prompt, event.completion, 1, event.ms, event.spend)):
                sums[key][i] += value
    more = (f"chatcmpl-{uuid.uuid4().hex}",) if table == lite.DAILY_TAG else ()
    return [(*_daily_row(key, values), *more) for key, values in sorted(sums.items())]


def _served(key: int, model: int) -> tuple[str, ...]:
    """The daily tables' columns from `api_key` to `model_group`; the empty one is an MCP tool's."""
    name = (lite.token(key), lite.model_name(model), lite.PROVIDER)
    return (*name, "", lite.ENDPOINT, f"model-{model}")


def _daily_row(key: tuple[str, ...], used: Sequence[float]) -> tuple[Any, ...]:
    """A whole row from its key and its prompt tokens, completion tokens, requests, ms and spend."""
    prompt, completion, n, ms = map(int, used[:4])
    counters = (prompt, completion, n, n, 0, 0, 0, 0, ms, n)
    return (str(uuid.uuid4()), *key, *counters, float(used[4]), 0.0, 0.0, 0.0, 0.0)


class LiteLLMBooks:
    """LiteLLM's spend tables in the database `dsn`, which must be empty, and what its proxy does with them."""

    def __init__(self, dsn: str) -> None:
        self.today = dt.datetime.now(dt.UTC).date()
        self._connection = psycopg.connect(
            dsn,
            autocommit=True,
            connect_timeout=10,
            prepare_threshold=0,
            options="-c timezone=UTC -c statement_timeout=120000",
        )
        # One width for all integers, so that a statement is prepared once, as Prisma's are.
        self._connection.adapters.register_dumper(int, Int8Dumper)
        self._cursor = psycopg.RawCursor(self._connection)
        self._prepare = False
        self._rows: Counter[str] = Counter()
        self._seconds = defaultdict[str, float](float)

    def close(self) -> None:
        self._connection.close()

    def create(self) -> None:
        """Makes the tables that a request touches, with their indexes."""
        for table in lite.TABLES:
            for statement in lite.ddl(table):
                self._cursor.execute(statement)

    def record(
        self, n_events: int, *, users: int, keys: int, models: int, rate: float = 100.0
    ) -> dict[str, Any]:
        """Writes `n_events` requests of today, drawn evenly from the keys, as they come at `rate` per second.

        The rate decides only how many fall into one flush; nothing waits. Out come events per second
        over the time spent in statements, its share by kind, rows inserted or updated per request (in
        all and by table), WAL and disk bytes per event (all tables, with indexes), and what the spend
        log's row takes: the row with its metadata, its index entries, the metadata alone.
        """
        self._people(users, keys)
        self._rows.clear()
        self._seconds.clear()
        before, wal = self._size(), self._wal()
        tagged: list[lite.Event] = []
        flush, tag_flush = max(1, int(rate * FLUSH_S)), int(rate * TAG_FLUSH_S)
        for first in range(0, n_events, flush):
            n = min(flush, n_events - first)
            events = list(self._events(first, n, users=users, keys=keys, models=models, rate=rate))
            self._usage(events)
            self._logs(events)
            self._flush(events)
            tagged += events
            if len(tagged) >= tag_flush or first + n == n_events:
                self._daily(lite.DAILY_TAG, tagged)
                tagged.clear()
        seconds = sum(self._seconds.values())
        return {
            "events": n_events,
            "events_per_s": n_events / seconds,
            "us_by_kind": {kind: s / n_events * 1e6 for kind, s in self._seconds.items()},
            "rows_per_request": sum(self._rows.values()) / n_events,
            "rows_by_table": {table: n / n_events for table, n in self._rows.items()},
            "wal_bytes_per_event": (self._wal() - wal) / n_events,
            "bytes_per_event": (self._size() - before) / n_events,
            **self._log_row(),
        }

    def load_days(self, days: int, users: int, keys: int, models: int, per_day: int) -> int:
        """Fills the users' daily table, the only one the reports read, for `days` days up to yesterday.

        On each day `per_day` keys are active with all of their models. Returns the number of rows.
        """
        self._people(users, keys)
        draw = random.Random(days)
        columns = lite.quoted((*lite.daily_columns(lite.DAILY_USER), "updated_at"))
        n = 0
        with self._cursor.copy(f'COPY "{lite.DAILY_USER}" ({columns}) FROM STDIN') as copy:
            for day in range(days, 0, -1):
                date = self.today - dt.timedelta(days=day)
                for key in sorted(draw.sample(range(keys), per_day)):
                    for model in lite.models_of(key, models):
                        whole = (lite.user_id(key % users), f"{date}", *_served(key, model))
                        n_asked = draw.randrange(1, 200)
                        used = [n_asked * each for each in (900, 250, 1, 1800, 3e-4)]
                        row = _daily_row(whole, used)
                        copy.write_row((*row, dt.datetime.combine(date, dt.time(12))))
                        n += 1
        for table in (lite.DAILY_USER, lite.USER, lite.KEY):
            self._cursor.execute(f'VACUUM ANALYZE "{table}"')
        return n

    def daily_report(self, user: str | None, repeats: int = 50) -> list[float]:
        """Seconds of each warm `/user/daily/activity/aggregated` over 30 days, of one user or of all.

        One query, then the keys and the users it names. Ends early after 20 seconds, but not before
        the third. Raises RuntimeError where there are no rows.
        """
        where, parameters = self._scope(user)
        sql = lite.aggregated_report(where, len(parameters))

        def read() -> int:
            rows = self._read(sql, *parameters, NOT_A_KEY, TOP_KEYS)
            self._named({row[1] for row in rows} - {None})
            return len(rows) - 1  # the total of all comes even from nothing

        return self._faster(read, repeats)

    def daily_pages(self, user: str | None, repeats: int = 3) -> list[float]:
        """Like `daily_report`, by `/user/daily/activity` through all its pages of 1000 rows, its most."""
        where, parameters = self._scope(user)
        count = f'SELECT count(*) FROM (SELECT id FROM "{lite.DAILY_USER}" WHERE {where} OFFSET 0) AS sub'
        page = f'SELECT * FROM "{lite.DAILY_USER}" WHERE {where} ORDER BY date DESC, id ASC'
        page += f" LIMIT ${len(parameters) + 1} OFFSET ${len(parameters) + 2}"
        names = lite.columns(lite.DAILY_USER)
        key, owner = names.index("api_key"), names.index("user_id")

        def read() -> int:
            total, seen = 1, 0
            while seen < total:
                total = self._read(count, *parameters)[0][0]
                rows = self._read(page, *parameters, PAGE_ROWS, seen)
                seen += len(rows)
                self._find(lite.USER, "user_id", {row[owner] for row in rows})
                self._named({row[key] for row in rows})
            return seen

        return self._faster(read, repeats)

    def _read(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self._cursor.execute(sql, parameters, prepare=self._prepare).fetchall()

    def _faster(self, read: Callable[[], int], repeats: int) -> list[float]:
        """The better of both ways: PostgreSQL may settle on a good or a bad plan for any user."""
        self._prepare = True
        prepared = _timed(read, repeats)
        self._prepare = False
        return min(prepared, _timed(read, repeats), key=median)

    def _scope(self, user: str | None) -> tuple[str, tuple[Any, ...]]:
        dates = (f"{self.today - dt.timedelta(days=n)}" for n in (REPORT_DAYS, 1))
        if user is None:
            return "date >= $1 AND date <= $2", tuple(dates)
        return 'date >= $1 AND date <= $2 AND "user_id" = ANY($3::text[])', (*dates, [user])

    def _find(self, table: str, column: str, values: set[str]) -> list[tuple[Any, ...]]:
        sql = f'SELECT * FROM "{table}" WHERE "{column}" = ANY($1::text[])'
        return self._cursor.execute(sql, [sorted(values)]).fetchall()

    def _named(self, keys: set[str]) -> None:
        """The look-ups that put a key's alias and its owner's address into an answer."""
        at = lite.columns(lite.KEY).index("user_id")
        self._find(lite.USER, "user_id", {row[at] for row in self._find(lite.KEY, "token", keys)})

    def _people(self, users: int, keys: int) -> None:
        """Adds the users and keys that are not there yet."""
        sql = f'INSERT INTO "{lite.USER}" (user_id, user_email, user_role, models) '
        sql += "VALUES ($1, $2, 'internal_user', '{}') ON CONFLICT DO NOTHING"
        self._cursor.executemany(
            sql, [(lite.user_id(n), f"user-{n}@example.org") for n in range(users)]
        )
        sql = f'INSERT INTO "{lite.KEY}" (token, key_name, key_alias, user_id, models, created_by) '
        sql += "VALUES ($1, $2, $3, $4, '{}', $4) ON CONFLICT DO NOTHING"
        rows = [
            (lite.token(n), f"sk-...{n:04}", f"key-{n}", lite.user_id(n % users))
            for n in range(keys)
        ]
        self._cursor.executemany(sql, rows)

    def _events(
        self, first: int, n: int, *, users: int, keys: int, models: int, rate: float
    ) -> Iterator[lite.Event]:
        draw = random.Random(first)
        opening = dt.datetime.combine(self.today, dt.time(6))
        for i in range(first, first + n):
            key = draw.randrange(keys)
            yield lite.Event(
                at=opening + dt.timedelta(seconds=i / rate),
                key=key,
                user=key % users,
                model=draw.choice(lite.models_of(key, models)),
                prompt=draw.randrange(20, 4000),
                completion=draw.randrange(10, 800),
                ms=draw.randrange(200, 9000),
            )

    @contextmanager
    def _timing(self, kind: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._seconds[kind] += time.perf_counter() - started

    def _usage(self, events: Sequence[lite.Event]) -> None:
        with self._timing("model usage"):
            for event in events:
                name = (f"{self.today}", f"model-{event.model}", lite.model_name(event.model))
                used = (event.spend, event.prompt, event.completion)
                self._cursor.execute(lite.UPSERT_USAGE, (*name, lite.PROVIDER, *used)).fetchone()
        self._rows[lite.USAGE] += len(events)

    def _logs(self, events: Sequence[lite.Event]) -> None:
        rows = [lite.spend_log(event) for event in events]
        columns = tuple(rows[0])
        for i in range(0, len(rows), ROWS_PER_STATEMENT):
            batch = [value for row in rows[i : i + ROWS_PER_STATEMENT] for value in row.values()]
            sql = lite.insert_logs(columns, len(batch) // len(columns))
            with self._timing("spend logs"):
                self._cursor.execute(sql, batch)
            self._rows[lite.LOG] += self._cursor.rowcount

    def _flush(self, events: Sequence[lite.Event]) -> None:
        """The job of each 10 to 15 s: increments, the daily tables without tags, the route's count."""
        sums = {table: defaultdict[str, float](float) for table in (lite.USER, lite.KEY, lite.TAG)}
        for event in events:
            sums[lite.USER][lite.user_id(event.user)] += event.spend
            sums[lite.KEY][lite.token(event.key)] += event.spend
            for tag in lite.tags_of(event):
                sums[lite.TAG][tag] += event.spend
        for table, spent in sums.items():
            rows = [(value, name) for name, value in sorted(spent.items())]
            with self._timing("increments"), self._connection.transaction():
                self._cursor.executemany(lite.INCREMENTS[table], rows)
            self._rows[table] += self._cursor.rowcount
        for table in (lite.DAILY_USER, lite.DAILY_TEAM):
            self._daily(table, events)
        with self._timing("gateway"):
            self._cursor.execute(lite.UPSERT_GATEWAY, (f"{self.today}", len(events)))
        self._rows[lite.GATEWAY] += 1

    def _daily(self, table: str, events: Sequence[lite.Event]) -> None:
        rows = _daily_rows(table, events)
        for i in range(0, len(rows), ROWS_PER_STATEMENT):
            batch = rows[i : i + ROWS_PER_STATEMENT]
            sql = lite.upsert_daily(table, len(batch))
            values = [each for row in batch for each in row]
            with self._timing("daily tables"), self._connection.transaction():
                self._cursor.execute(sql, values)
            self._rows[table] += self._cursor.rowcount

    def _size(self) -> int:
        sizes = [f"pg_total_relation_size('\"{table}\"')" for table in lite.TABLES]
        return int(self._read(f"SELECT {' + '.join(sizes)}")[0][0])

    def _wal(self) -> int:
        return int(self._read("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")[0][0])

    def _log_row(self) -> dict[str, float]:
        sql = f"""SELECT count(*), avg(pg_column_size(metadata)), avg(length(metadata::text)),
            pg_table_size('"{lite.LOG}"'), pg_indexes_size('"{lite.LOG}"') FROM "{lite.LOG}" """
        n, metadata, text, table, indexes = map(float, self._read(sql)[0])
        return {
            "spend_log_row_bytes": table / n,
            "spend_log_index_bytes": indexes / n,
            "metadata_bytes": metadata,
            "metadata_json_bytes": text,
        }


def _timed(read: Callable[[], int], repeats: int) -> list[float]:
    """Seconds of each call after two that warm up. Raises RuntimeError where a call reads no rows."""
    if not read() or not read():
        raise RuntimeError("no rows to report: load days first")
    found: list[float] = []
    deadline = time.monotonic() + LIMIT_S
    while len(found) < repeats and (len(found) < 3 or time.monotonic() < deadline):
        started = time.perf_counter()
        read()
        found.append(time.perf_counter() - started)
    return found


def _recorded(name: str, found: dict[str, Any]) -> str:
    cells = [f"{found['events_per_s']:,.0f}", f"{found['rows_per_request']:.2f}"]
    cells += [f"{found['bytes_per_event']:,.0f}", f"{found['wal_bytes_per_event']:,.0f}"]
    cells += [f"{found['spend_log_row_bytes']:,.0f} + {found['spend_log_index_bytes']:,.0f}"]
    cells += [f"{found['metadata_json_bytes']:,.0f}, {found['metadata_bytes']:,.0f} stored"]
    return f"| {name} | " + " | ".join(cells) + " |"


def _reported(name: str, seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"| {name} | {len(ordered)} | {median(ordered) * 1e3:,.1f} | {p99 * 1e3:,.1f} |"


def measure(books: LiteLLMBooks, *, days: int = 395, requests: int = 20_000) -> Iterator[str]:
    """The Markdown of one whole run, line by line as it is found."""
    started = time.perf_counter()
    n = books.load_days(days, users=1000, keys=3000, models=10, per_day=1000)
    yield f"{n:,} daily rows over {days} days loaded in {time.perf_counter() - started:.0f} s.\n"
    yield "| report of 30 days, LiteLLM 1.105.0 | repeats | median ms | p99 ms |\n|---|---|---|---|"
    for kind, report in (("aggregated", books.daily_report), ("all pages", books.daily_pages)):
        for name, user in (("one user", lite.user_id(7)), ("all users", None)):
            yield _reported(f"{kind}, {name}", report(user))
    yield "\n| recorded, LiteLLM 1.105.0 | events/s | rows per request | bytes per event | WAL bytes | spend log: row + indexes | metadata |"
    yield "|---|---|---|---|---|---|---|"
    kinds = []
    for keys in (3000, 100):
        found = books.record(requests, users=min(1000, keys), keys=keys, models=10)
        yield _recorded(f"{keys:,} keys in use, 100 requests/s", found)
        parts = ", ".join(f"{kind} {us:.0f}" for kind, us in found["us_by_kind"].items())
        tables = ", ".join(f"{table} {n:.2f}" for table, n in found["rows_by_table"].items())
        kinds.append(f"{keys:,} keys: µs per event: {parts}. Rows per request: {tables}.")
    yield "\n" + "\n".join(kinds)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="litellm-books-") as folder:
        cluster = Cluster(Path(folder) / "postgres")
        try:
            with closing(LiteLLMBooks(cluster.url("gatehouse"))) as books:
                books.create()
                for line in measure(books):
                    print(line, flush=True)
        finally:
            cluster.stop()


if __name__ == "__main__":
    main()
