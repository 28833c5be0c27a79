"""The pages of usage: one's own, and everybody's for admins (surface, section 6.3; contract, 5.4 to 5.8).

The numbers come from the same questions to the rollups as the reports of `usage.api` (E-14, E-15,
E-28), after the journal was brought in (S-13).
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import urlencode

from django.contrib import messages
from django.core.paginator import Paginator
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from accounts.models import ApiKey
from accounts.pages import page
from accounts.runtime import env
from core import correlation
from core.errors import InvalidRequestError
from core.http import GatedRequest
from core.principal import Principal
from core.whole_numbers import whole_number
from usage.books_panel import books_panel
from usage.chart import stacked
from usage.labels import Key, head, nobody_words, source_words, span
from usage.quotas.bars import QuotaBar, bars
from usage.quotas.service import statuses_of
from usage.records import ID
from usage.reports.freshness import bring_in
from usage.reports.overview import Overview, everybodys_overview, own_overview
from usage.reports.page_csv import everybodys_csv, own_csv
from usage.reports.people import PAGE, PeoplePage, Person, people_page
from usage.reports.windows import DEFAULT_PERIOD, rolling_window

log = logging.getLogger("gatehouse.web")
ADDRESS = "/app/usage"
PERIODS = ("day", "week", "month", "all")
MAX_SEARCH = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """What the query asks for. `user_id` is whose usage is opened in everybody's list, or empty."""

    period: str
    everybody: bool
    user_id: str
    search: str
    number: int

    def href(self, **changed: Any) -> str:
        """This page with something else; what is as it is anyway is left out."""
        given = {
            "period": self.period if self.period != DEFAULT_PERIOD else "",
            "q": self.search,
            "page": self.number if self.number > 1 else "",
            "user": self.user_id,
            **changed,
        }
        query = urlencode({name: value for name, value in given.items() if value})
        return f"{ADDRESS}?{query}" if query else ADDRESS


def asked(request: HttpRequest, principal: Principal) -> Asked:
    """The query, as far as this caller may ask; what it does not know is as if it were not there."""
    given = request.GET
    period = given.get("period", "")
    everybody = principal.is_admin and given.get("of") != "me"
    user_id = given.get("user", "") if everybody else ""
    return Asked(
        period=period if period in PERIODS else DEFAULT_PERIOD,
        everybody=everybody,
        user_id=user_id if len(user_id) <= 36 else "",
        search=given.get("q", "").strip()[:MAX_SEARCH].replace("\0", "") if everybody else "",
        number=1 if (number := whole_number(given.get("page", ""), 7)) is None else number,
    )


@page
@require_GET
def usage_page(request: HttpRequest) -> HttpResponse:
    """Everybody's for admins (`?of=me`: their own), one's own for everybody else."""
    principal = cast("GatedRequest", request).principal
    assert principal is not None  # noqa: S101  # the gate saw to it
    wanted = asked(request, principal)
    shown = _frame(wanted, principal)
    if env().disable_stats:
        return render(request, "usage/usage.html", {**shown, "state": "off"})
    status = 200
    try:
        now = timezone.now()
        as_of = bring_in()
        shown |= _everybodys(wanted, now) if wanted.everybody else _own(wanted, principal, now)
        shown["behind"] = as_of if (now - as_of).total_seconds() > 5 else None
    except DatabaseError as exc:
        log.warning("usage could not be read: %s", type(exc).__name__)
        reference = (correlation.current.get() or b"").decode("latin-1")
        shown |= {"state": "failed", "reference": reference, "retry": request.get_full_path()}
        status = 503
    return render(request, "usage/usage.html", shown, status=status)


def _frame(wanted: Asked, principal: Principal) -> dict[str, Any]:
    """What stands around the numbers: period, whose, CSV."""
    names = {"day": _("Day"), "week": _("Week"), "month": _("Month"), "all": _("All")}
    of = {"of": "me"} if principal.is_admin and not wanted.everybody else {}
    periods = [
        {
            "label": names[each],
            "href": wanted.href(page="", period=each if each != DEFAULT_PERIOD else "", **of),
            "current": each == wanted.period,
        }
        for each in PERIODS
    ]
    mine = wanted.href(of="me", q="", page="", user="")
    tabs = [
        {"label": _("Everybody"), "href": wanted.href(), "current": wanted.everybody},
        {"label": _("Mine"), "href": mine, "current": not wanted.everybody},
    ]
    return {
        "wanted": wanted,
        "periods": periods,
        "tabs": tabs if principal.is_admin else [],
        "csv_href": f"{ADDRESS}/csv?{urlencode({'period': wanted.period, **of})}",
        "all_href": wanted.href(period="all", page="", **of),
        "currency": env().currency,
        "state": "shown",
    }


def _own(wanted: Asked, principal: Principal, now: datetime) -> dict[str, Any]:
    overview = own_overview(rolling_window(wanted.period, now), principal.user_id)
    keys = _keys(principal.user_id)
    return {
        **_numbers(overview),
        "sources": _sources(overview, keys),
        "quotas": _quotas(principal.user_id, keys, now),
        "has_quotas": True,
    }


def _numbers(overview: Overview) -> dict[str, Any]:
    """What the partials of an overview need, whoever's it is."""
    return {
        "overview": overview,
        "chart": stacked(overview.columns),
        "head": head(overview.window.grain),
        "span": span(overview),
    }


def _sources(overview: Overview, keys: dict[str, Key]) -> list[dict[str, Any]]:
    return [{"line": line, "words": source_words(line, keys)} for line in overview.sources]


def _keys(user_id: str) -> dict[str, Key]:
    """A person's API keys by id; none of who has no account. One query."""
    if not ID.fullmatch(user_id):
        return {}
    found = ApiKey.objects.filter(user_id=user_id).values_list("pk", "name", "prefix")
    return {str(pk): Key(name, prefix) for pk, name, prefix in found}


def _quotas(user_id: str, keys: dict[str, Key], now: datetime) -> list[QuotaBar]:
    names = {key_id: key.name for key_id, key in keys.items()}
    return bars(statuses_of(user_id), now, currency=env().currency, key_names=names)


def _everybodys(wanted: Asked, now: datetime) -> dict[str, Any]:
    overview = everybodys_overview(rolling_window(wanted.period, now))
    window = rolling_window(wanted.period, now, "none")
    people = people_page(window, search=wanted.search, number=wanted.number, opened=wanted.user_id)
    return {
        **_numbers(overview),
        "people": people,
        "rows": [_row(wanted, each) for each in people.lines],
        "page_obj": Paginator(range(people.n_found), PAGE).get_page(people.number),
        "only_one": people.n_found == 1 and bool(wanted.user_id) and people.n_people > 1,
        "person": _person(wanted, people, now) if wanted.user_id else None,
        "books": books_panel(),
    }


def _row(wanted: Asked, line: Person) -> dict[str, Any]:
    """One person's line as the template shows it."""
    name, second = nobody_words(line.user_id) or (line.name, line.email)
    is_open = wanted.user_id == line.user_id
    return {
        "line": line,
        "name": name,
        "second": second,
        "is_open": is_open,
        "expanded": "true" if is_open else "false",
        "href": wanted.href(user="" if is_open else line.user_id),
        "details": _("Details of %(name)s") % {"name": name},
    }


def _person(wanted: Asked, people: PeoplePage, now: datetime) -> dict[str, Any] | None:
    """What is opened below one person's line."""
    line = next((each for each in people.lines if each.user_id == wanted.user_id), None)
    if line is None:
        return None
    overview = own_overview(rolling_window(wanted.period, now), wanted.user_id)
    keys = _keys(wanted.user_id)
    return {
        **_numbers(overview),
        "line": line,
        "sources": _sources(overview, keys),
        "quotas": _quotas(wanted.user_id, keys, now),
    }


@page
@require_GET
def usage_csv(request: HttpRequest) -> HttpResponse:
    """The page's numbers as a file; `user` is for admins, who get everybody's without it."""
    principal = cast("GatedRequest", request).principal
    assert principal is not None  # noqa: S101  # the gate saw to it
    wanted, now = asked(request, principal), datetime.now(UTC)
    if env().disable_stats:
        return HttpResponseRedirect(ADDRESS)
    try:
        content = b"".join(_csv_of(wanted, principal, now))
    except (DatabaseError, InvalidRequestError) as exc:  # the latter: more rows than a report has
        log.warning("no CSV of usage: %s", type(exc).__name__)
        messages.error(request, _("The file could not be made. Choose a shorter period."))
        return HttpResponseRedirect(wanted.href())
    response = HttpResponse(content, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = (
        f'attachment; filename="usage-{wanted.period}-{now:%Y-%m-%d}.csv"'
    )
    return response


def _csv_of(wanted: Asked, principal: Principal, now: datetime) -> Iterator[bytes]:
    bring_in()
    if wanted.everybody and not wanted.user_id:
        return everybodys_csv(rolling_window(wanted.period, now, "none"), env().currency)
    user_id = wanted.user_id or principal.user_id
    return own_csv(rolling_window(wanted.period, now), user_id, env().currency)
