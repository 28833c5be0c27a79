"""The audit trail for admins to read: filtered, newest first, paged by a cursor (S-25, W-18)."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from accounts import audit_words
from accounts.api.audit import chosen
from accounts.models import AuditRecord, Status, User
from accounts.pages import page
from accounts.people_tabs import people_tabs
from core.moments import in_utc

PAGE_SIZE = 50
MAX_QUERY_CHARS = 100
PERIODS = {"day": timedelta(days=1), "week": timedelta(days=7), "month": timedelta(days=30)}
DEFAULT_PERIOD = "week"


@page
@require_GET
def trail(request: HttpRequest) -> HttpResponse:
    """One page of the trail. Times are exact, and in UTC."""
    given = {
        "q": request.GET.get("q", "").replace("\0", "").strip()[:MAX_QUERY_CHARS],
        "action": request.GET.get("action", ""),
        "period": request.GET.get("period", DEFAULT_PERIOD),
    }
    since = None if given["period"] == "all" else timezone.now() - _length(given["period"])
    rows = filtered(given["q"], given["action"], since)
    before = _cursor(request.GET.get("before", ""))
    after = _cursor(request.GET.get("after", ""))
    found, newer, older = one_page(rows, before=before, after=after)
    jsonl = {"format": "jsonl", **({"from": since.isoformat()} if since else {})}
    shown = {
        "tabs": people_tabs("audit-page", waiting=_waiting()),
        "given": given,
        "days": by_day(found),
        "newer": _mark(found[0]) if newer else "",
        "older": _mark(found[-1]) if older else "",
        "actions": [("", _("All actions")), *(each[:2] for each in audit_words.GROUPS)],
        "periods": [
            ("day", _("Last 24 hours")),
            ("week", _("Last 7 days")),
            ("month", _("Last 30 days")),
            ("all", _("Everything")),
        ],
        "download": f"{reverse('auth-admin-audit')}?{urlencode(jsonl)}",
    }
    return render(request, "accounts/audit.html", shown)


def filtered(q: str, group: str, since: datetime | None) -> QuerySet[AuditRecord]:
    """The rows that a filter leaves. `q` is part of a name, an address or an action's words."""
    rows = chosen(actor="", action="", since=since, until=None)
    if group:
        rows = rows.filter(action__in=audit_words.group_actions(group))
    if not q:
        return rows
    meant = [n for n, words in audit_words.ACTIONS.items() if q.lower() in str(words).lower()]
    in_names = Q(actor_name__icontains=q) | Q(subject_name__icontains=q)
    return rows.filter(in_names | Q(action__in=meant) | Q(address__startswith=q))


Cursor = tuple[datetime, int]


def one_page(
    rows: QuerySet[AuditRecord], *, before: Cursor | None, after: Cursor | None
) -> tuple[list[AuditRecord], bool, bool]:
    """(the rows, whether there are newer ones, whether there are older ones); one query.

    A cursor names a row by time and id, so that what is written meanwhile moves nothing.
    """
    if after is not None:
        at, pk = after
        later = Q(at__gt=at) | Q(at=at, pk__gt=pk)
        found = list(rows.filter(later).order_by("at", "pk")[: PAGE_SIZE + 1])
        return found[:PAGE_SIZE][::-1], len(found) > PAGE_SIZE, bool(found)
    if before is not None:
        at, pk = before
        rows = rows.filter(Q(at__lt=at) | Q(at=at, pk__lt=pk))
    found = list(rows[: PAGE_SIZE + 1])
    return found[:PAGE_SIZE], before is not None and bool(found), len(found) > PAGE_SIZE


def by_day(rows: list[AuditRecord]) -> list[dict[str, Any]]:
    """Rows under their UTC day, in the order they come."""
    days: list[dict[str, Any]] = []
    for row in rows:
        day: date = row.at.astimezone(UTC).date()
        if not days or days[-1]["day"] != day:
            days.append({"day": day, "rows": []})
        days[-1]["rows"].append(
            {
                "row": row,
                "time": f"{row.at.astimezone(UTC):%H:%M:%S}",
                "action": audit_words.action(row.action),
                "brief": audit_words.brief(row.before, row.after),
                "before": audit_words.lines(row.before),
                "after": audit_words.lines(row.after),
            }
        )
    return days


def _length(period: str) -> timedelta:
    return PERIODS.get(period, PERIODS[DEFAULT_PERIOD])


def _mark(row: AuditRecord) -> str:
    return f"{row.at.astimezone(UTC).isoformat()}_{row.pk}"


def _cursor(given: str) -> Cursor | None:
    """A mark of ours; None for anything else an address may hold."""
    moment, _gap, number = given.rpartition("_")
    if not number.isascii() or not number.isdecimal() or len(number) > 18:
        return None
    try:
        at = parse_datetime(moment.replace(" ", "+"))
        return (in_utc(at), int(number)) if at is not None and at.tzinfo is not None else None
    except ValueError:
        return None


def _waiting() -> int:
    return User.objects.filter(status=Status.PENDING).count()
