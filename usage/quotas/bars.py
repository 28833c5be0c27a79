"""Quota rules as bars on pages: what the rule says, how much of it is used, when that is over."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.ui import moments, numbers
from core.durations import parse_duration
from usage.money import amount
from usage.quotas.words import WINDOWS

# Of a QuotaStatus (usage.quotas.service.statuses): (what, at most, used, when that is over).
LIMITS: tuple[tuple[str, str, str, str | None], ...] = (
    ("requests", "max_requests", "current_requests", "requests_reset_at"),
    ("tokens", "max_total_tokens", "current_total_tokens", "tokens_reset_at"),
    ("cost", "max_cost", "current_cost", "tokens_reset_at"),
    ("concurrent", "max_concurrent", "current_concurrent", None),
)


@dataclass(frozen=True, slots=True)
class QuotaBar:
    """One limit of one rule. `percent` of None: the counters could not be read."""

    title: str
    percent: float | None
    used: str
    resets: str
    used_up: bool


def bars(
    statuses: Iterable[dict[str, Any]],
    now: datetime,
    *,
    currency: str,
    key_names: Mapping[str, str],
) -> list[QuotaBar]:
    """A bar for each limit of `usage.quotas.service.statuses`; rules without one have none."""
    return [
        _bar(status, names, now, currency, key_names)
        for status in statuses
        for names in LIMITS
        if status[names[1]] is not None
    ]


def _bar(
    status: dict[str, Any],
    names: tuple[str, str, str, str | None],
    now: datetime,
    currency: str,
    key_names: Mapping[str, str],
) -> QuotaBar:
    what, most_name, current_name, reset_name = names
    most, current = status[most_name], status[current_name]
    title = _title(status, what, key_names)
    if current is None:
        return QuotaBar(title, None, _("Cannot be read at this moment."), "", used_up=False)
    used_up = current >= most
    percent = 100.0 if used_up else 100 * current / most
    refusing = status["limited_by"] == what
    at = status["resets_at"] if refusing else status[reset_name] if reset_name else None
    resets = _resets(at, now) if current or refusing else ""
    return QuotaBar(title, percent, _used(what, current, most, currency), resets, used_up=used_up)


def _title(status: dict[str, Any], what: str, key_names: Mapping[str, str]) -> str:
    about = status["model"] or _("All models")
    if status["api_key_id"]:
        key = key_names.get(status["api_key_id"], _("a key"))
        about = _("%(about)s with key %(key)s") % {"about": about, "key": key}
    if what == "concurrent":
        return _("%(about)s, at once") % {"about": about}
    return _("%(about)s, %(window)s") % {"about": about, "window": per(status["window"])}


def per(window: str) -> str:
    """`per hour`, `per 7 days`, `per 2 h`."""
    named = {"1m": _("per minute"), "1h": _("per hour"), "1d": _("per day")}
    if window in named:
        return named[window]
    seconds = WINDOWS.get(window) or parse_duration(window).total_seconds()
    return _("per %(length)s") % {"length": moments.duration(seconds)}


def _used(what: str, current: int, most: int, currency: str) -> str:
    if what == "cost":
        shown = {"used": amount(current, currency), "most": amount(most, currency)}
        return _("%(used)s of %(most)s") % shown
    shown = {"used": numbers.grouped(current), "most": numbers.grouped(most)}
    if what == "tokens":
        return ngettext("%(used)s of %(most)s token", "%(used)s of %(most)s tokens", most) % shown
    return ngettext("%(used)s of %(most)s request", "%(used)s of %(most)s requests", most) % shown


def _resets(at: str | None, now: datetime) -> str:
    if at is None:
        return ""
    seconds = (datetime.fromisoformat(at) - now).total_seconds()
    if seconds <= 0:
        return ""
    return _("Resets in %(length)s") % {"length": moments.duration(seconds)}
