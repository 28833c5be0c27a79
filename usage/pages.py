"""Comparing the books now, from the pages System and Usage."""

from datetime import UTC, datetime

from django.contrib import messages
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounts.pages import page
from accounts.wording import in_words
from core.errors import ConflictError
from usage import books

SYSTEM, USAGE = "/app/system#accounting", "/app/usage#accounting"


@page
@require_POST
def system_check(request: HttpRequest) -> HttpResponse:
    return _compared(request, back=SYSTEM)


@page
@require_POST
def usage_check(request: HttpRequest) -> HttpResponse:
    return _compared(request, back=USAGE)


def _compared(request: HttpRequest, *, back: str) -> HttpResponse:
    """Compare now and say what came of it; the panel at `back` says where the books differ."""
    try:
        done = books.check_now(datetime.now(UTC))
    except ConflictError as exc:
        messages.info(request, in_words(exc))
    except DatabaseError:
        messages.error(request, _("The books could not be compared in time. Try again."))
    else:
        if not done.difference:
            messages.success(request, _("The books balance"))
    return HttpResponseRedirect(back)
