"""The usage page's numbers as CSV: the rows it adds up, so that every sum on it can be made again."""

import csv
import io
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from usage.buckets import label
from usage.reports.export import safe_cell
from usage.reports.overview import own_overview
from usage.reports.sums import Question, ask
from usage.reports.windows import Window

_OWN = ("bucket", "model", "source", "api_key_id", "api_key_name")
_EVERYBODYS = ("user_id", "user_name", "model")
_SUMS = ("requests", "errors", "prompt_tokens", "cached_tokens", "completion_tokens")
_LAST = ("total_tokens", "cost", "currency")
_PART = 1000
Row = dict[str, Any]


def own_csv(window: Window, user_id: str, currency: str) -> Iterator[bytes]:
    """By bucket, model, source and key."""
    rows = own_overview(window, user_id).rows
    assert window.grain is not None  # noqa: S101  # a page's window has buckets
    for row in rows:
        row["bucket"] = label(window.grain, row["bucket"])
    return _written(_OWN, rows, currency)


def everybodys_csv(window: Window, currency: str) -> Iterator[bytes]:
    """By person and model over the whole window; `window` is one sum (a `bucket` of `none`)."""
    return _written(_EVERYBODYS, ask(Question(window, ["user", "model"])), currency)


def _written(names: tuple[str, ...], rows: Iterable[Row], currency: str) -> Iterator[bytes]:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow((*names, *_SUMS, *_LAST))
    for place, row in enumerate(rows, 1):
        cells = [safe_cell(row[name]) for name in names]
        total = row["prompt_tokens"] + row["completion_tokens"]
        cost = Decimal(row["cost"]).scaleb(-9)
        writer.writerow((*cells, *(row[name] for name in _SUMS), total, f"{cost:f}", currency))
        if place % _PART == 0:
            yield out.getvalue().encode()
            out.seek(0)
            out.truncate()
    yield out.getvalue().encode()
