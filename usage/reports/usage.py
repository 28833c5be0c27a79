"""The usage reports of the contract, and of any window: E-14, E-28, E-38, E-39 (5.4 to 5.6)."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from accounts.api.shapes import timestamp
from accounts.runtime import env
from usage.buckets import label
from usage.reports.sums import GROUPS, Question, ask

_TOTALS = (
    *("prompt_tokens", "completion_tokens", "total_tokens", "request_count"),
    *("error_count", "cached_tokens", "cost"),
)


def usage_report(question: Question, *, as_of: datetime) -> dict[str, Any]:
    """The body: a row per bucket and group, their totals, the window, and how fresh it is.

    `cost` is in 10⁻⁹ of `currency` (S-54).
    """
    rows = [_shaped(row, question) for row in ask(question)]
    return {
        "usage": rows,
        "totals": {name: sum(row[name] for row in rows) for name in _TOTALS},
        "from": timestamp(question.window.start),
        "to": timestamp(question.window.end),
        "as_of": timestamp(as_of),
        "currency": env().currency,
    }


def _shaped(row: dict[str, Any], question: Question) -> dict[str, Any]:
    grain = question.window.grain
    shown: dict[str, Any] = {} if grain is None else {"bucket": label(grain, row["bucket"])}
    for name in columns_of(question.groups):
        if row[name] is not None:  # what was not by a key has none (5.7)
            shown[name] = row[name]
    return {**shown, **counts(row)}


def columns_of(groups: Iterable[str]) -> list[str]:
    """The columns that name a row of these groups."""
    return [name for group in groups for part in GROUPS[group] for name in part]


def counts(row: dict[str, Any]) -> dict[str, int]:
    """A row's sums under the contract's names."""
    return {
        "prompt_tokens": row["prompt_tokens"],
        "completion_tokens": row["completion_tokens"],
        "total_tokens": row["prompt_tokens"] + row["completion_tokens"],
        "request_count": row["requests"],
        "error_count": row["errors"],
        "cached_tokens": row["cached_tokens"],
        "cost": row["cost"],
    }
