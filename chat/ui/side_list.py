"""The list beside a conversation: one's own, by day, in the reader's time zone."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from chat.models import Conversation

ZONE_COOKIE = "tz"
MAX_ZONE_CHARS = 64
WEEK_DAYS = 7


@dataclass(frozen=True, slots=True)
class Group:
    """Conversations of one day or span, the newest first."""

    heading: str | Promise
    conversations: list[Conversation] = field(default_factory=list)


def zone_of(request: HttpRequest) -> tzinfo:
    """What the page's script wrote down of the browser's zone; UTC where it did not."""
    name = request.COOKIES.get(ZONE_COOKIE, "")
    if not name or len(name) > MAX_ZONE_CHARS:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def by_day(found: Iterable[Conversation], now: datetime, zone: tzinfo) -> list[Group]:
    """Today, yesterday, the last seven days, then by month."""
    today = now.astimezone(zone).date()
    groups: dict[str, Group] = {}
    for each in found:
        heading = _heading(each.updated_at.astimezone(zone).date(), today)
        groups.setdefault(str(heading), Group(heading)).conversations.append(each)
    return list(groups.values())


def _heading(day: date, today: date) -> str | Promise:
    if day >= today:
        return _("Today")
    if day == today - timedelta(days=1):
        return _("Yesterday")
    if day > today - timedelta(days=WEEK_DAYS):
        return _("Last 7 days")
    return date_format(day, "YEAR_MONTH_FORMAT")
