"""Times as pages show them: relative up to seven days, the exact UTC time always at hand."""

from datetime import UTC, datetime, timedelta

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, npgettext

RELATIVE_FOR = timedelta(days=7)


def exact(moment: datetime) -> str:
    """`2026-11-12 09:14:03 UTC`, the same in every language."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def relative(moment: datetime, now: datetime | None = None) -> str:
    """`12 min ago`, `in 3 h`, `yesterday`; beyond seven days the date."""
    age = (now or timezone.now()) - moment
    if abs(age) >= RELATIVE_FOR:
        return str(date_format(moment.astimezone(UTC), "DATE_FORMAT"))
    seconds = round(abs(age).total_seconds())
    if seconds < 5:
        return _("now")
    length = _length(seconds)
    if age < timedelta(0):
        return _("in %(length)s") % {"length": length}
    if seconds >= 86400 and seconds < 2 * 86400:
        return _("yesterday")
    return _("%(length)s ago") % {"length": length}


def _length(seconds: int) -> str:
    if seconds < 60:
        return _("%(n)d s") % {"n": seconds}
    if seconds < 3600:
        return _("%(n)d min") % {"n": seconds // 60}
    if seconds < 86400:
        return _("%(n)d h") % {"n": seconds // 3600}
    days = seconds // 86400
    # A text of its own: with these words other languages have another case than for a duration.
    return npgettext("with in or ago", "%(n)d day", "%(n)d days", days) % {"n": days}


def duration(seconds: float) -> str:
    """`40 s`, `3 min 12 s`, `6 h 12 min`, `2 days 4 h`: two units at most."""
    whole = max(0, round(seconds))
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [
        ngettext("%(n)d day", "%(n)d days", days) % {"n": days} if days else "",
        _("%(n)d h") % {"n": hours} if hours else "",
        _("%(n)d min") % {"n": minutes} if minutes else "",
        _("%(n)d s") % {"n": rest} if rest or not whole else "",
    ]
    return " ".join([each for each in parts if each][:2])
