"""Usage by where it came from and by key: E-15 and E-29 (contract 5.7, 5.8)."""

from collections import defaultdict
from datetime import datetime
from typing import Any

from accounts.api.shapes import timestamp
from usage.buckets import label, moment_of
from usage.reports.sums import Filters, Question, ask
from usage.reports.usage import columns_of, counts
from usage.reports.windows import Window

MAX_KEYS = 200
Row = dict[str, Any]


def sources_report(
    window: Window, filters: Filters, *, as_of: datetime, everybody: bool
) -> dict[str, Any]:
    """The body. `everybody` adds who it was to each row, and sums by source and person.

    `truncated` says that there are more keys than are listed, in both reports alike (W-31).
    """
    groups = ["source", "key", *(["user"] if everybody else [])]
    rows = ask(Question(window, ["source", "key", "user"], filters))
    keys = _by_key(rows)
    totals: dict[str, Any] = {
        "by_source": {source: _brief(mine) for source, mine in sorted(_grouped(rows, "source"))},
        "by_key": keys[:MAX_KEYS],
        "grand_total": _brief(rows),
    }
    if everybody and (people := _by_user_source(rows)):
        totals["by_user_source"] = people
    return {
        "buckets": [_shaped(row, groups, window) for row in rows],
        "totals": totals,
        "truncated": len(keys) > MAX_KEYS,
        "from": timestamp(window.start),
        "to": timestamp(window.end),
        "as_of": timestamp(as_of),
    }


def _shaped(row: Row, groups: list[str], window: Window) -> Row:
    named = {name: row[name] for name in columns_of(groups) if row[name] is not None}
    shown = {} if window.grain is None else {"bucket": label(window.grain, row["bucket"])}
    return {**shown, **named, **counts(row)}


def _grouped(rows: list[Row], *names: str) -> list[tuple[Any, list[Row]]]:
    found: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        found[row[names[0]] if len(names) == 1 else tuple(row[name] for name in names)].append(row)
    return list(found.items())


def _brief(rows: list[Row]) -> dict[str, int]:
    return {
        "tokens": sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows),
        "requests": sum(row["requests"] for row in rows),
        "error_count": sum(row["errors"] for row in rows),
        "cost": sum(row["cost"] for row in rows),
    }


def _by_key(rows: list[Row]) -> list[Row]:
    """One item per key, most tokens first, with when it was last used."""
    found = []
    for key_id, mine in _grouped(rows, "api_key_id"):
        if key_id is None:
            continue
        named = {name: mine[-1][name] for name in ("user_id", "user_name")}
        last = timestamp(moment_of(max(row["last_ms"] for row in mine)))
        name = mine[-1]["api_key_name"]
        found.append(
            {"api_key_id": key_id, "api_key_name": name, **named, **_brief(mine), "last_used": last}
        )
    return sorted(found, key=lambda item: (-item["tokens"], item["api_key_id"]))


def _by_user_source(rows: list[Row]) -> list[Row]:
    """Who used it without a key of their own: by browser, and by legacy keys."""
    found = []
    for (source, user_id), mine in _grouped(rows, "source", "user_id"):
        if source != "apikey":
            who = {"source": source, "user_id": user_id, "user_name": mine[-1]["user_name"]}
            found.append({**who, **_brief(mine)})
    return sorted(found, key=lambda item: (-item["tokens"], item["user_id"]))
