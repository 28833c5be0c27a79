"""Comparing the books now, from the System page."""

from contextlib import suppress
from datetime import UTC, datetime

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.views.decorators.http import require_POST

from accounts.pages import page
from core.errors import ConflictError
from usage import books

PAGE = "/app/system#accounting"


@page
@require_POST
def check(_request: HttpRequest) -> HttpResponse:
    """Compare now; where somebody does already, the page shows what comes of it."""
    with suppress(ConflictError):
        books.check_now(datetime.now(UTC))
    return HttpResponseRedirect(PAGE)
