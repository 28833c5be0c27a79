"""The accounting panel (R-29): whether journal, events and sums say the same, in plain words.

The same numbers as `GET /api/accounting`. Used by the pages Usage and System.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from accounts.ui.numbers import grouped
from usage import books
from usage.backlog import Backlog, backlog_now
from usage.buckets import start_of
from usage.models import BooksCheck, Grain
from usage.retention import kept_for


@dataclass(frozen=True, slots=True)
class BooksPanel:
    """`latest` of None: not compared yet. `headline` and `wrong` are empty where the books balance."""

    latest: BooksCheck | None
    sums: dict[str, int] | None
    headline: str
    wrong: list[str]
    days: int
    backlog: Backlog
    kept_for: timedelta | None


def books_panel() -> BooksPanel:
    """Two queries and a look at the journal's files."""
    latest = books.latest()
    wrong = _wrong(latest)
    return BooksPanel(
        latest=latest,
        sums=books.summary(latest) if latest else None,
        headline=_headline(wrong) if latest and latest.difference else "",
        wrong=[_where(each) for each in wrong],
        days=books.DAYS,
        backlog=backlog_now(),
        kept_for=kept_for(),
    )


def _wrong(latest: BooksCheck | None) -> list[dict[str, Any]]:
    return [each for each in latest.report["findings"] if each["difference"]] if latest else []


def _headline(wrong: list[dict[str, Any]]) -> str:
    """`The books differ by 3 requests`, or without a number where only tokens or cost do."""
    n = max((_requests(each) for each in wrong), default=0)
    if not n:
        return _("The books differ in tokens or cost")
    return ngettext(
        "The books differ by %(n)s request", "The books differ by %(n)s requests", n
    ) % {"n": grouped(n)}


def _requests(finding: dict[str, Any]) -> int:
    """By how many requests and errors the sums of one comparison are apart."""
    if finding["what"] == "journal":
        return int(finding["difference"])
    counts = [each["requests"] + each["errors"] for each in finding["sums"].values()]
    return max(counts) - min(counts) if counts else 0


def _where(finding: dict[str, Any]) -> str:
    """`day 20404` as a date, with the hours that differ; `month 24322` as a month."""
    kind, _space, number = finding["what"].partition(" ")
    if kind == "day":
        formats = pgettext("date format", "j F Y")
        day = str(date_format(start_of(Grain.DAY, int(number)), formats))
        hours = ", ".join(f"{hour:02}:00" for hour in finding.get("hours", []))
        return f"{day} ({hours})" if hours else day
    if kind == "month":
        month = start_of(Grain.MONTH, int(number))
        return str(date_format(month, pgettext("date format", "F Y")))
    return _("the journal")
