"""Durations as LocalAI writes them: Go's `1h30m`, and `90d`, `1y` for expiries."""

import re
from datetime import timedelta

_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_GO = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_DAYS = re.compile(r"(\d{1,6})([dy])")


def parse_duration(text: str) -> timedelta:
    """A positive duration. Raises ValueError where `text` is not one, or is longer than 100 years."""
    if whole := _DAYS.fullmatch(text):
        days = float(whole[1]) * (365 if whole[2] == "y" else 1)
    elif len(text) <= 64 and _GO.fullmatch(text):
        days = sum(float(n) * _SECONDS[unit] for n, unit in _PART.findall(text)) / 86400
    else:
        raise ValueError("not a duration")
    if not 0 < days <= 36500:
        raise ValueError("not a duration")
    return timedelta(days=days)
