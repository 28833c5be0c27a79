"""The engines' logs for admins: choose one, read it, follow it live (R-13, R-23, R-24).

The page has the last lines from the start, and works so without a script; `js/logs.js` follows the
WebSocket from the last one on.
"""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from accounts.pages import page
from accounts.runtime import env
from accounts.runtime_settings.in_force import value
from core.files import AlreadyHeldError
from inference import log_files
from inference.log_files import last_lines, log_folder, logged_models
from inference.log_words import Line, shown
from inference.models import Model

LEVELS = ("", "w", "e")
MAX_NAME, MAX_SEARCH = 255, 200


@page
@require_GET
def choose(request: HttpRequest) -> HttpResponse:
    """Which log; `?model=` is the choice of a form without script."""
    wanted = request.GET.get("model", "")[:MAX_NAME]
    if wanted and wanted in _models():
        return HttpResponseRedirect(reverse("logs-page", args=[wanted]))
    return render(request, "inference/logs.html", _shown(""))


@page
@require_GET
def log(request: HttpRequest, model: str) -> HttpResponse:
    """The last lines of one; `?q=` and `?level=` leave out others."""
    given = request.GET.get("level", "")
    search = request.GET.get("q", "").strip()[:MAX_SEARCH]
    kept = [shown(raw) for raw in last_lines(log_folder(env().data_path, model))]
    found = {
        "lines": [line for line in kept if _meets(line, search, given)],
        # what was left out here comes by the socket, so that a search can be taken back
        "last": kept[-1]["seq"] if kept and not (search or given) else 0,
        "search": search,
        "level": given if given in LEVELS else "",
    }
    return render(request, "inference/logs.html", {**_shown(model), **found})


@page
@require_GET
def download(_request: HttpRequest, model: str) -> HttpResponse:
    """The last lines as a text to keep."""
    lines = (shown(raw) for raw in last_lines(log_folder(env().data_path, model)))
    text = "".join(f"{line['moment']} {line['text']}\n" for line in lines)
    answer = HttpResponse(text, content_type="text/plain; charset=utf-8")
    answer["Content-Disposition"] = 'attachment; filename="engine-log.txt"'
    return answer


@page
@require_POST
def clear(request: HttpRequest, model: str) -> HttpResponse:
    """Take every line out."""
    try:
        log_files.clear(log_folder(env().data_path, model))
        messages.success(request, _("The log is cleared."))
    except AlreadyHeldError:
        messages.error(request, _("The log is being written at this moment. Try again."))
    return HttpResponseRedirect(reverse("logs-page", args=[model]))


@page
@require_GET
def moved(_request: HttpRequest, model: str) -> HttpResponse:
    """LocalAI's address of the page."""
    return HttpResponseRedirect(reverse("logs-page", args=[model]))


def _models() -> list[str]:
    """Those with a log, and those installed, whose first line is still to come."""
    installed = Model.objects.values_list("name", flat=True)
    return sorted({*logged_models(env().data_path), *installed})


def _shown(model: str) -> dict[str, object]:
    return {"model": model, "models": _models(), "is_kept": value("enable_backend_logging")}


def _meets(line: Line, search: str, level: str) -> bool:
    if level == "e" and line["level"] != "e":
        return False
    if level == "w" and not line["level"]:
        return False
    return search.lower() in str(line["text"]).lower()
