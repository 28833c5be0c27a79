"""`/app/models/<name>/edit`: a model's configuration as YAML, and its other names (R-19).

Neither is saved over what somebody else changed after the page was shown (accounts/meanwhile.py).
"""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST

from accounts.audit import actor_of
from accounts.meanwhile import FIELD, ChangedMeanwhileError, digest
from accounts.pages import page
from accounts.wording import sentence
from core.errors import ConflictError, GatehouseError, NotFoundError
from inference import configuring
from inference.configuring import Build, Changed
from inference.gallery_pages.shown_models import is_backend_here, options_of
from inference.gallery_pages.words import engine_words, plain
from inference.model_configuration import (
    Configuration,
    ConfigurationFaultError,
    as_yaml,
    document_of,
    of_row,
)
from inference.models import Model

GONE = "models-page"


@page
@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, model: str) -> HttpResponse:
    """GET shows it, POST saves the whole. What was typed stays on the page where it is wrong."""
    if request.method == "GET":
        return _changed(request, model, None, part="text")
    text = request.POST.get("text", "").replace("\r\n", "\n")  # as forms send line ends

    def save() -> Changed:
        document = document_of(text)
        build = _where_as_shown(request, "text", configuring.whole(document.data, document))
        return configuring.change(model, build, by=actor_of(request))

    return _changed(request, model, save, part="text")


@page
@require_POST
def set_aliases(request: HttpRequest, model: str) -> HttpResponse:
    """The other names alone, one a line."""
    aliases = request.POST.get("aliases", "").replace(",", " ").split()

    def save() -> Changed:
        def build(before: Configuration) -> Configuration:
            return configuring.merged(before, {"aliases": aliases})

        checked = _where_as_shown(request, "aliases", build)
        return configuring.change(model, checked, by=actor_of(request))

    return _changed(request, model, save, part="aliases")


@page
@require_POST
def read_files(request: HttpRequest) -> HttpResponse:
    """Take over what was changed in models' files by hand; nothing where one is faulty."""
    try:
        changed = configuring.reload(by=actor_of(request))
    except GatehouseError as exc:
        messages.error(request, " ".join(plain(exc)).strip())
    else:
        n = len(changed)
        words = ngettext("%(n)s configuration changed.", "%(n)s configurations changed.", n)
        messages.success(request, words % {"n": n})
    return HttpResponseRedirect(reverse("models-page"))


def _texts(configuration: Configuration) -> dict[str, str]:
    """What the two forms of the page hold."""
    return {"text": as_yaml(configuration), "aliases": "\n".join(configuration.aliases)}


def _where_as_shown(request: HttpRequest, part: str, build: Build) -> Build:
    """`build`, which runs under the row's lock, where the form showed what there is now.

    It raises ChangedMeanwhileError.
    """

    def checked(before: Configuration) -> Configuration:
        if request.POST.get(FIELD, "") != digest(_texts(before)[part]):
            raise ChangedMeanwhileError
        return build(before)

    return checked


def _changed(
    request: HttpRequest, model: str, save: Callable[[], Changed] | None, *, part: str
) -> HttpResponse:
    try:
        if save is None:
            return _shown(request, configuring.find(model))
        done = save()
    except NotFoundError as exc:
        messages.error(request, " ".join(plain(exc)))
        return HttpResponseRedirect(reverse(GONE))
    except ConfigurationFaultError as exc:
        return _faulty(request, model, exc, part)
    except GatehouseError as exc:
        cause = exc.__cause__
        fault = cause if isinstance(cause, ConfigurationFaultError) else exc
        return _faulty(request, model, fault, part)
    words = [_("%(name)s is saved.") % {"name": model}, engine_words(done.engine)]
    messages.success(request, " ".join(words).strip())
    return HttpResponseRedirect(reverse("model-edit-page", args=[model]))


def _faulty(
    request: HttpRequest, model: str, fault: ConfigurationFaultError | GatehouseError, part: str
) -> HttpResponse:
    """The page with what was typed, and beside it what is wrong, its line and key."""
    extra: dict[str, Any] = {part: request.POST.get(part, ""), "wrong": part}
    if isinstance(fault, ConfigurationFaultError):
        extra |= {"line": fault.line, "param": fault.param, "words": sentence(fault.message)}
    else:
        extra |= {"words": " ".join(plain(fault)).strip(), "param": fault.param, "line": None}
        extra["is_behind"] = isinstance(fault, ChangedMeanwhileError)
        extra["is_conflict"] = isinstance(fault, ConflictError) and not extra["is_behind"]
    try:
        return _shown(request, configuring.find(model), **extra)
    except NotFoundError as exc:
        messages.error(request, " ".join(plain(exc)))
        return HttpResponseRedirect(reverse(GONE))


def _shown(request: HttpRequest, row: Model, **extra: Any) -> HttpResponse:
    now = _texts(of_row(row))
    stamps = {part: digest(text) for part, text in now.items()}
    if (wrong := extra.get("wrong")) and not extra.get("is_behind"):
        stamps[wrong] = request.POST.get(FIELD, "")  # nothing newer was looked at
    shown = {
        "model": row,
        **now,
        "now": now,
        "stamps": stamps,
        "options": options_of(row.backend),
        "has_backend": is_backend_here(row.backend),
        **extra,
    }
    return render(
        request, "inference/model_edit.html", shown, status=422 if extra.get("wrong") else 200
    )
