"""Who used the most of a window, in order: what the list of people on the usage page goes by.

Over a year of ten thousand people this adds up hundreds of thousands of sums. So an order that took
long to find is kept for a while, in this process: a hundred times as long as it took, a minute at
most. On a server where it takes a moment it is always found anew. Only the order (and who is in it)
may be that old: the numbers beside the names are asked for each page (`usage.reports.people`).
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import connection

from usage.models import UsageSeries
from usage.models.rollups import UsageRollup
from usage.reports.windows import Window, spans

KEPT_FROM_S, KEPT_TIMES, KEPT_MOST_S = 0.02, 100, 60.0
_MAX_KEPT = 16
_ROLLUP, _SERIES = (each._meta.db_table for each in (UsageRollup, UsageSeries))  # noqa: SLF001
_kept: dict[tuple[str, int, int], "Ranking"] = {}


@dataclass(frozen=True, slots=True)
class Ranking:
    """User ids, most tokens first; `at` is when that was found, `good_until` (monotonic) when no more."""

    user_ids: list[str]
    at: datetime
    good_until: float


def forget() -> None:
    """For tests: every order is found anew."""
    _kept.clear()


def ranking(window: Window) -> Ranking:
    """The order of everybody who used anything in `window`."""
    key = (connection.alias, window.first, window.past)
    held = _kept.get(key)
    if held is not None and time.monotonic() < held.good_until:
        return held
    began = time.monotonic()
    found = _ask(window)
    took = time.monotonic() - began
    keep_s = min(KEPT_MOST_S, took * KEPT_TIMES) if took >= KEPT_FROM_S else 0.0
    made = Ranking(found, datetime.now(UTC), time.monotonic() + keep_s)
    if keep_s:
        if len(_kept) >= _MAX_KEPT:
            _kept.clear()
        _kept[key] = made
    return made


def _ask(window: Window) -> list[str]:
    """One query; every part of it is from here."""
    tokens = "CAST(SUM(prompt_tokens + completion_tokens) AS bigint) AS tokens"
    parts = [
        f"SELECT series_id, {tokens} FROM {_ROLLUP} "  # noqa: S608
        f"WHERE grain = {int(span.grain)} "
        f"AND bucket BETWEEN {int(span.first)} AND {int(span.last)} GROUP BY series_id"
        for span in spans(window)
    ]
    sql = (
        f"SELECT s.user_id, SUM(r.tokens) FROM ({' UNION ALL '.join(parts)}) r "  # noqa: S608
        f"JOIN {_SERIES} s ON s.id = r.series_id GROUP BY s.user_id ORDER BY 2 DESC, 1"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return [row[0] for row in cursor.fetchall()]
