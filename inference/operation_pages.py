"""The sidebar's operations as a fragment that pages fetch again, and its two buttons."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from accounts.pages import page
from accounts.ui.pages import page_before
from core.errors import GatehouseError
from inference import operations
from inference.operation_panel import panel_context


@page
@require_GET
def operations_panel(request: HttpRequest) -> HttpResponse:
    return _panel(request)


@page
@require_POST
def cancel_operation(request: HttpRequest, job_id: str) -> HttpResponse:
    try:
        operations.cancel(job_id)
    except GatehouseError:  # it ended in the same moment, or somebody else cancelled it
        messages.info(request, _("It had ended already."))
    return _answer(request)


@page
@require_POST
def dismiss_operation(request: HttpRequest, job_id: str) -> HttpResponse:
    operations.dismiss(job_id)
    return _answer(request)


def _answer(request: HttpRequest) -> HttpResponse:
    """The fragment for a script, the page that was left for a plain form."""
    if request.headers.get("hx-request"):
        return _panel(request)
    return HttpResponseRedirect(page_before(request))


def _panel(request: HttpRequest) -> HttpResponse:
    shown = {"operations": panel_context(), "is_fragment": True}
    return render(request, "inference/partials/operations.html", shown)
