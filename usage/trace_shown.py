"""What the pages of traces add to the rows of `usage.traces.listing`: words, tones, shares, bodies."""

import json
import re
from base64 import b64decode
from collections.abc import Iterable
from typing import Any

from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext_lazy as _

Shape = dict[str, Any]
STAGES = {
    "gate": _("Check access"),
    "queue": _("Wait for a place"),
    "first_token": _("First token"),
    "stream": _("Answer"),
    "settle": _("Record usage"),
}
MAX_BODY_CHARS = 200_000  # of each body on a page; the endpoint has the whole
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def requests(items: Iterable[Shape]) -> list[Shape]:
    """The newest first, each with its share of the longest."""
    found = [_request(each) for each in reversed(list(items))]
    longest = max((each["ms"] for each in found), default=0)
    return [{**each, "share": 100 * each["ms"] / longest if longest else 0} for each in found]


def _request(row: Shape) -> Shape:
    tone, icon = _told(row["response"]["status"])
    return {
        **row,
        **_when(row["timestamp"]),
        "ms": row["duration"] / 1e6,
        "took": took(row["duration"] / 1e6),
        "tokens": row["prompt_tokens"] + row["completion_tokens"],
        "tone": tone,
        "icon": icon,
    }


def one_request(row: Shape) -> Shape:
    """One in full: stages as parts of the whole, bodies as text where they are kept."""
    shown = _request(row)
    return {
        **shown,
        "stages": _stages(row["stages_ms"]),
        "bodies": [
            (_("Request"), _body(row["request"])),
            (_("Answer"), _body(row["response"])),
        ],
        "headers": _headers(row["request"]["headers"]),
    }


def _stages(given: Shape) -> list[Shape]:
    """Bars one after the other, in per cent of the whole."""
    whole = sum(given.values()) or 1
    stages, before = [], 0.0
    for name, words in STAGES.items():
        ms = given[name]
        width = 100 * ms / whole
        x = min(before, 99.2)
        stages.append(
            {"words": words, "took": took(ms), "x": f"{x:.1f}", "width": f"{max(width, 0.8):.1f}"}
        )
        before += width
    return stages


def _body(part: Shape) -> Shape:
    """A body as text: JSON laid out, control characters taken out, cut where it is long."""
    if part["body"] is None:
        return {"text": None, "n_bytes": part["body_bytes"]}
    text = b64decode(part["body"]).decode("utf-8", "replace")
    is_json = False
    if not part.get("body_truncated"):
        try:
            text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
            is_json = True
        except (ValueError, RecursionError):
            pass
    is_cut = bool(part.get("body_truncated")) or len(text) > MAX_BODY_CHARS
    return {
        "text": _CONTROLS.sub("", text[:MAX_BODY_CHARS]),
        "n_bytes": part["body_bytes"],
        "label": "JSON" if is_json else _("Text"),
        "is_cut": is_cut,
    }


def _headers(given: dict[str, list[str]] | None) -> list[tuple[str, str]]:
    return [(name, ", ".join(values)) for name, values in (given or {}).items()]


def engine_calls(items: Iterable[Shape]) -> list[Shape]:
    """The newest first."""
    return [_call(each) for each in reversed(list(items))]


def _call(row: Shape) -> Shape:
    tone, icon = _told(row["status"])
    first = row["data"].get("first_token_ms")
    return {
        **row,
        **_when(row["timestamp"]),
        "took": took(row["duration"] / 1e6),
        "first_token": took(first) if first else "",
        "tone": tone,
        "icon": icon,
    }


def took(ms: float) -> str:
    """`41 ms`, `0.4 ms`, `8.21 s`."""
    if ms >= 1000:
        return f"{ms / 1000:.2f}\u202fs"
    return f"{ms:.0f}\u202fms" if ms >= 10 else f"{ms:.1f}\u202fms"


def _told(status: int) -> tuple[str, str]:
    if status >= 500:
        return "bad", "circle-x"
    return ("warn", "circle-alert") if status >= 400 else ("ok", "check")


def _when(text: str) -> Shape:
    """The moment, and its parts as a list has them: UTC, the time of day first."""
    found = parse_datetime(text)
    assert found is not None  # noqa: S101  # the listing wrote it
    return {"moment": found, "time": f"{found:%H:%M:%S}", "day": f"{found:%Y-%m-%d}"}
