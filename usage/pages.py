"""The admin's page on how the server stands: whether the books balance, and what waits for them."""

from contextlib import suppress
from datetime import UTC, datetime

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from accounts.pages import page
from core.errors import ConflictError
from usage import books
from usage.backlog import backlog_now
from usage.retention import kept_for

PAGE = "/app/system"


@page
@require_GET
def system(request: HttpRequest) -> HttpResponse:
    """Accounting: the latest comparison of journal, events and sums."""
    latest = books.latest()
    shown = {
        "principal": request.principal,  # type: ignore[attr-defined]  # the gate put it there
        "latest": latest,
        "summary": books.summary(latest) if latest else None,
        "wrong": [each for each in latest.report["findings"] if each["difference"]]
        if latest
        else [],
        "days": books.DAYS,
        "backlog": backlog_now(),
        "kept_for": kept_for(),
    }
    return render(request, "usage/system.html", shown)


@page
@require_POST
def check(_request: HttpRequest) -> HttpResponse:
    """Compare now; where somebody does already, the page shows what comes of it."""
    with suppress(ConflictError):
        books.check_now(datetime.now(UTC))
    return HttpResponseRedirect(PAGE)
