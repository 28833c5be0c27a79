"""Times and names of the usage page in words, in the reader's language. All times are UTC."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from accounts.ui.numbers import grouped
from core.principal import LEGACY_ID, LOCAL_ID
from usage.models import Grain
from usage.reports.overview import Column, Line, Overview
from usage.series import DELETED_ID


@dataclass(frozen=True, slots=True)
class Key:
    """What is shown of an API key that still exists."""

    name: str
    prefix: str


def short(column: Column) -> str:
    """Under the axis: `14 Oct`, `07:00`, `Oct 2026`."""
    formats = {
        Grain.HOUR: pgettext("date format", "H:i"),
        Grain.DAY: pgettext("date format", "j M"),
        Grain.MONTH: pgettext("date format", "M Y"),
    }
    return str(date_format(column.start, formats[column.grain]))


def long(column: Column) -> str:
    """In the readout and the table: `Tue 10 Nov`, `Tue 10 Nov, 07:00`, `November 2026`."""
    if column.grain == Grain.HOUR:
        return str(date_format(column.start, pgettext("date format", "D j M, H:i")))
    if column.grain == Grain.DAY:
        return str(date_format(column.start, pgettext("date format", "D j M")))
    return str(date_format(column.start, pgettext("date format", "F Y")))


def head(grain: Grain | None) -> str:
    """The first column's heading of the table behind a chart."""
    if grain == Grain.HOUR:
        return _("Hour (UTC)")
    return _("Day (UTC)") if grain == Grain.DAY else _("Month (UTC)")


def readout(column: Column) -> str:
    """`87,435 tokens, 63,013 prompt, 24,422 completion`."""
    return ngettext(
        "%(total)s token, %(prompt)s prompt, %(completion)s completion",
        "%(total)s tokens, %(prompt)s prompt, %(completion)s completion",
        column.sums.total,
    ) % {
        "total": grouped(column.sums.total),
        "prompt": grouped(column.sums.prompt),
        "completion": grouped(column.sums.completion),
    }


def span(overview: Overview) -> str:
    """`14 October to 12 November 2026`; of hours with their times; of months the first and last."""
    first, last = overview.columns[0], overview.columns[-1]
    formats = {
        Grain.HOUR: (pgettext("date format", "j F, H:i"),) * 2,
        Grain.DAY: (pgettext("date format", "j F"), pgettext("date format", "j F Y")),
        Grain.MONTH: (pgettext("date format", "F Y"),) * 2,
    }
    of_first, of_last = formats[first.grain]
    if first.grain == Grain.DAY and first.start.year != last.start.year:
        of_first = of_last
    ends = {"first": date_format(first.start, of_first), "last": date_format(last.start, of_last)}
    if first is last:
        return str(ends["last"])
    if first.grain == Grain.HOUR:
        return _("%(first)s to %(last)s UTC") % ends
    return _("%(first)s to %(last)s") % ends


def source_words(line: Line, keys: Mapping[str, Key]) -> tuple[str, str]:
    """A line by key and source: its name, and what stands below it."""
    if line.source == "web":
        return _("Web"), _("chat in the browser")
    if line.source == "legacy":
        return _("Legacy keys"), _("keys from the settings, without an owner")
    if line.source == "oidc":
        return _("SSO"), _("access tokens of the sign-in provider")
    key = keys.get(line.key_id or "")
    if key is None:
        return line.name or _("Deleted keys"), _("revoked")
    return key.name, f"{key.prefix}…"


def nobody_words(user_id: str) -> tuple[str, str] | None:
    """Name and second line of who has usage and no account; None for people."""
    if user_id == LEGACY_ID:
        return _("Legacy keys"), _("keys from the settings, without an owner")
    if user_id == LOCAL_ID:
        return _("This machine"), _("used without accounts")
    if user_id == DELETED_ID:
        return _("Deleted accounts"), _("what they used stays in the totals")
    return None
