"""Whether this server works, and what is still under way."""

from typing import cast

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse

from accounts.openapi.refusals import Error
from core.declared import declares
from core.http import GatedRequest
from inference.api import machine_answers as answers
from inference.api.server import version_words
from inference.setup_steps import pending_steps
from usage.drain import background_is_there, journal_is_writable


@declares("Whether the web process answers")
def healthz(_request: HttpRequest) -> HttpResponse:
    """200 and nothing else: the web process answers."""
    return HttpResponse(status=200)


@declares("Whether the server works", answer=answers.Ready, more={503: answers.Starting | Error})
def readyz(request: HttpRequest) -> HttpResponse:
    """200 once database, journal and background are there; loading models do not hold it back.

    What engines and downloads said of themselves is for known callers alone.
    """
    reason = _not_ready()
    if reason:
        return JsonResponse({"status": "starting", "reason": reason}, status=503)
    pending = pending_steps()
    if cast("GatedRequest", request).principal is None:
        pending = [{**step, "message": ""} for step in pending]
    return JsonResponse({"status": "ready", "pending": pending})


def _not_ready() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "the database does not answer"
    if not journal_is_writable():
        return "the usage journal cannot be written"
    return "" if background_is_there() else "the background process is not running"


@declares("The version", answer=answers.Version)
def version(_request: HttpRequest) -> HttpResponse:
    """`GET /version`, for any known caller (R-25)."""
    return JsonResponse({"version": version_words()})
