"""What the System page says of the books, and comparing them now."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.views.decorators.http import require_POST

from accounts.pages import page
from core.errors import ConflictError
from usage import books
from usage.backlog import backlog_now
from usage.retention import kept_for

PAGE = "/app/system#accounting"


def accounting() -> dict[str, Any]:
    """For `usage/partials/accounting.html`: the latest comparison of journal, events and sums."""
    latest = books.latest()
    findings = latest.report["findings"] if latest else []
    return {
        "latest": latest,
        "summary": books.summary(latest) if latest else None,
        "wrong": [each for each in findings if each["difference"]],
        "days": books.DAYS,
        "backlog": backlog_now(),
        "kept_for": kept_for(),
    }


@page
@require_POST
def check(_request: HttpRequest) -> HttpResponse:
    """Compare now; where somebody does already, the page shows what comes of it."""
    with suppress(ConflictError):
        books.check_now(datetime.now(UTC))
    return HttpResponseRedirect(PAGE)
