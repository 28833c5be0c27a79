"""`/app/operations/<id>`: one operation with the last words of its installer."""

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts.pages import page
from inference import operations
from inference.backends_here import installed_backends
from inference.gallery_pages.shown_operations import shown


@page
@require_GET
def operation(request: HttpRequest, job_id: UUID) -> HttpResponse:
    row = operations.find(str(job_id))
    if row is None:
        raise Http404
    found = {
        "operation": shown(row, set(installed_backends())),
        "row": row,
        "log": row.log_tail.splitlines(),
        "is_backend": row.kind == operations.Kind.BACKEND,
    }
    return render(request, "inference/operation.html", found)
