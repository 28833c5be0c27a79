"""What a person or a program sees when something goes wrong outside a view."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.runtime import env
from core import correlation
from core.drf import error_response
from core.errors import ForbiddenError, InvalidRequestError, NotFoundError, UnavailableError


def wants_page(request: HttpRequest) -> bool:
    """A browser asking for a page, not a program asking for JSON (contract 4.6)."""
    accepts = "text/html" in request.headers.get("accept", "")
    return accepts and "json" not in request.headers.get("content-type", "")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form whose token is missing or stale. `reason` is Django's, and stays in the log."""
    if wants_page(request):
        return render(request, "403.html", {"is_expired": True}, status=403)
    error = ForbiddenError("This form has expired; load the page again.")
    return error_response(error, "openai", opaque=env().opaque_errors)


def forbidden(request: HttpRequest) -> HttpResponse:
    """What somebody sees who sent a form that is an admin's."""
    return render(request, "403.html", status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if wants_page(request):
        return render(request, "404.html", status=404)
    return error_response(NotFoundError(), "openai", opaque=env().opaque_errors)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_response(InvalidRequestError(), "openai")


def server_error(request: HttpRequest) -> HttpResponse:
    """The fixed 500: no stack, no path, no SQL."""
    if wants_page(request):
        shown = {"reference": correlation.current.get().decode()}
        return render(request, "500.html", shown, status=500)
    error = UnavailableError("The server could not answer this request.", status=500)
    return error_response(error, "openai", opaque=env().opaque_errors)
