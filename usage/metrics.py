"""What was used, as counters of `/metrics`. The books are the database; these are for watching.

No label names a user unless `LOCALAI_METRICS_USERS` is on, and then only admins may read (C-03).
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from decimal import Decimal
from functools import cache, lru_cache
from typing import Literal, NamedTuple

from prometheus_client import Counter

from accounts.runtime import env
from core import metric_files  # noqa: F401  # how files are made, before the first one is
from usage.records import Row

# The one endpoint that has a name in its path, as urls.py has it: a label takes no caller's words.
NANO = 10**9
_WITH_MODEL = re.compile(r"/engines/.+?/(chat/completions|completions|embeddings)$")


class Recorded(NamedTuple):
    """One row that is in the books now. `cached` is a part of `prompt`; `cost` in currency units."""

    model: str
    served_model: str
    endpoint: str
    user_name: str
    counted: bool
    estimated: bool
    prompt: int
    cached: int
    completion: int
    cost: Decimal | float


class Counters:
    """The counters of one process, with a label `user` at the end where `with_users`."""

    def __init__(self, *, with_users: bool) -> None:
        self.with_users = with_users
        self.tokens = self._make("tokens", "Tokens by kind; cached ones are among prompt", "kind")
        self.billed = self._make("billed_requests", "Requests that were billed", "endpoint")
        self.failed = self._make("failed_requests", "Requests recorded as errors", "endpoint")
        self.estimated = self._make("estimated_requests", "Requests whose tokens are estimated")
        self.cost = self._make("cost", "Cost of what was billed, in currency units")
        self.unrecorded = Counter(
            "localai_usage_unrecorded",
            "Answers whose usage is not in the books, by reason",
            ["reason"],
            registry=None,
        )

    def _make(self, name: str, words: str, *labels: str) -> Counter:
        users = ("user",) if self.with_users else ()
        labels = ("served_model", *labels, *users)
        return Counter(f"localai_{name}", words, labels, registry=None)

    def all(self) -> list[Counter]:
        return [
            self.tokens,
            self.billed,
            self.failed,
            self.estimated,
            self.cost,
            self.unrecorded,
        ]


@cache
def counters() -> Counters:
    return Counters(with_users=env().metrics_users)


def recorded(rows: Iterable[Recorded]) -> None:
    """Count a batch of rows that were really inserted. Cheap for thousands: added up first.

    Never raises for a full disk: a metric is missing then, the books are not.
    """
    mine = counters()
    sums: dict[tuple[Counter, tuple[str, ...]], float] = defaultdict(float)
    for row in rows:
        model, endpoint = row.served_model, endpoint_label(row.endpoint)
        user = (row.user_name,) if mine.with_users else ()
        requests = mine.billed if row.counted else mine.failed
        sums[requests, (model, endpoint, *user)] += 1
        if row.estimated:
            sums[mine.estimated, (model, *user)] += 1
        for kind, count in (
            ("prompt", row.prompt),
            ("cached", row.cached),
            ("completion", row.completion),
        ):
            if count:
                sums[mine.tokens, (model, kind, *user)] += count
        if row.cost:
            sums[mine.cost, (model, *user)] += float(row.cost)
    with suppress(OSError):
        for (counter, labels), amount in sums.items():
            counter.labels(*labels).inc(amount)


def count(rows: Iterable[tuple[Row, int]]) -> None:
    """Count a batch of the drain: its new rows, each with its cost in 10⁻⁹ of the currency."""
    recorded(
        Recorded(
            row.names.model,
            row.names.served_model,
            row.names.endpoint,
            row.user_name,
            row.counted,
            row.estimated,
            row.prompt_tokens,
            row.cached_tokens,
            row.completion_tokens,
            cost / NANO,
        )
        for row, cost in rows
    )


def unrecorded(reason: Literal["no_usage", "journal_full"]) -> None:
    """Count one answer without usage (S-04), or one served past a full journal (S-53)."""
    with suppress(OSError):
        counters().unrecorded.labels(reason).inc()


@lru_cache(maxsize=256)
def endpoint_label(path: str) -> str:
    """The path of a request without a model's name in it."""
    return _WITH_MODEL.sub(r"/engines/<path:model>/\1", path)


ReadDifference = Callable[[], float | None]
_differences: list[ReadDifference] = []


def register_books_difference(read: ReadDifference) -> None:
    """`read` says by how much journal, events and rollups differ (None: not known); last one counts."""
    _differences[:] = [read]


def books_difference() -> float | None:
    """What the registered function says; None where there is none."""
    return _differences[0]() if _differences else None
