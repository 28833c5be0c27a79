"""Whether this server works, and what is still under way."""

from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse

from inference.setup_steps import pending_steps
from usage.drain import background_is_there, journal_is_writable


def healthz(_request: HttpRequest) -> HttpResponse:
    """200 and nothing else: the web process answers."""
    return HttpResponse(status=200)


def readyz(_request: HttpRequest) -> HttpResponse:
    """200 once database, journal and background are there; loading models do not hold it back."""
    reason = _not_ready()
    if reason:
        return JsonResponse({"status": "starting", "reason": reason}, status=503)
    return JsonResponse({"status": "ready", "pending": pending_steps()})


def _not_ready() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "the database does not answer"
    if not journal_is_writable():
        return "the usage journal cannot be written"
    return "" if background_is_there() else "the background process is not running"


def version(_request: HttpRequest) -> HttpResponse:
    """`{"version": "v0.1.0 (gatehouse)"}`, in the shape that clients know."""
    return JsonResponse({"version": f"v{settings.VERSION} (gatehouse)"})
