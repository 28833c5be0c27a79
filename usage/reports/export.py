"""Single events as CSV or JSON lines, page by page, so that memory does not grow with their number."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from accounts.api.shapes import timestamp
from usage.buckets import HOUR_MS, first_id
from usage.models import UsageEvent, UsageSeries
from usage.reports.sums import Filters
from usage.reports.windows import Window

PAGE = 2000
_NAMES = (
    *("user_id", "user_name", "source", "api_key_id", "api_key_name", "model"),
    *("served_model", "endpoint", "unit"),
)
_OWN = (
    *("prompt_tokens", "cached_tokens", "completion_tokens", "units", "cost", "status", "counted"),
    *("estimated", "streamed", "duration_ms", "first_token_ms", "queue_ms", "correlation_id"),
    "unknown_model",
)
COLUMNS = ("id", "created_at", *_NAMES, *_OWN)
# What a spreadsheet would take for a formula (CWE-1236): names and ids are their owners' words.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Export:
    """Events of a window, oldest first, of the series that `filters` let through."""

    window: Window
    filters: Filters

    def pages(self) -> Iterator[list[dict[str, Any]]]:
        """A query each; begins where the last page ended."""
        after = first_id(self.window.first * HOUR_MS)
        high = first_id(self.window.past * HOUR_MS)
        found = UsageEvent.objects.filter(id__lt=high).order_by("id")
        if given := self.filters.given():
            found = found.filter(series_id__in=UsageSeries.objects.filter(**given).values("id"))
        while True:
            events = list(found.filter(id__gte=after)[:PAGE])
            names = UsageSeries.objects.in_bulk({event.series_id for event in events})
            yield [_item(event, names[event.series_id]) for event in events]
            if len(events) < PAGE:
                return
            after = UUID(int=events[-1].id.int + 1)


def _item(event: UsageEvent, names: UsageSeries) -> dict[str, Any]:
    return {
        "id": str(event.id),
        "created_at": timestamp(event.at),
        **{name: getattr(names, name) for name in _NAMES},
        **{name: getattr(event, name) for name in _OWN},
    }


def as_json_lines(pages: Iterator[list[dict[str, Any]]]) -> Iterator[bytes]:
    for page in pages:
        yield b"".join(orjson.dumps(item) + b"\n" for item in page)


def as_csv(pages: Iterator[list[dict[str, Any]]]) -> Iterator[bytes]:
    """With a head line; a text that a spreadsheet would run is made a text of it."""
    head = ",".join(COLUMNS) + "\r\n"
    yield head.encode()
    for page in pages:
        out = io.StringIO()
        writer = csv.writer(out)
        for item in page:
            writer.writerow([safe_cell(item[name]) for name in COLUMNS])
        yield out.getvalue().encode()


def safe_cell(value: Any) -> Any:
    """A text that a spreadsheet would run is made a text of it."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return value
