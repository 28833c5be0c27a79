"""What an admin does with models on the page: install, switch, load, unload, delete. All are forms.

A form that htmx sends gets the page's live part, every other one the page it came from.
"""

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from accounts.audit import Actor, Subject, actor_of, record
from accounts.pages import page
from accounts.ui.pages import page_before
from core.errors import GatehouseError, NotFoundError
from inference import asked_operations, configuring, engine_requests
from inference.api.gallery_requests import element_id
from inference.gallery_pages.models import is_fragment, live_part
from inference.gallery_pages.words import engine_words, plain
from inference.wanted_models import wish_for_deletion, wish_for_id

NOT_YET_S = 0.0  # a page does not wait for an engine: its state is on the page


@page
@require_POST
def install(request: HttpRequest) -> HttpResponse:
    """An entry as it is; its own name and options are the form's next to it."""
    by = actor_of(request)
    try:
        wish = wish_for_id(element_id(request.POST.get("id", "")), by.name)
        asked_operations.start(wish, key="", by=by)
    except GatehouseError as exc:
        return refused(request, exc)
    return done(request, _("%(name)s is being installed.") % {"name": wish.target})


@page
@require_POST
def again(request: HttpRequest, job_id: str) -> HttpResponse:
    """Try anew what failed."""
    try:
        asked_operations.again(job_id, by=actor_of(request))
    except GatehouseError as exc:
        return refused(request, exc)
    return done(request, "")


@page
@require_POST
def act(request: HttpRequest, model: str, action: str) -> HttpResponse:
    """One of the switches and buttons of an installed model."""
    chosen = _ACTIONS.get(action)
    try:
        if chosen is None:
            raise NotFoundError
        words = chosen(model, actor_of(request))
    except GatehouseError as exc:
        return refused(request, exc)
    return done(request, words)


@page
@require_http_methods(["GET", "POST"])
def delete(request: HttpRequest, model: str) -> HttpResponse:
    """Asks first: in the dialog that says `sure`, or without script on a page of its own."""
    if request.method == "GET" or "sure" not in request.POST:
        try:
            row = configuring.find(model)
        except NotFoundError as exc:
            return refused(request, exc)
        shown = {"model": row, "next": page_before(request)}
        return render(request, "inference/model_delete.html", shown)
    by = actor_of(request)
    try:
        asked_operations.start(wish_for_deletion(element_id(model), by.name), key="", by=by)
    except GatehouseError as exc:
        return refused(request, exc)
    return done(request, _("%(name)s is being deleted.") % {"name": model})


def _switch(words: Callable[[str], str], **fields: bool) -> Callable[[str, Actor], str]:
    def act_on(model: str, by: Actor) -> str:
        changed = configuring.change(model, configuring.with_fields(**fields), by=by)
        return f"{words(model)} {engine_words(changed.engine)}".strip()

    return act_on


def _load(model: str, by: Actor) -> str:
    outcome = engine_requests.load(model, wait_s=NOT_YET_S)
    record("model_loaded", by, Subject("", model))
    words = _("%(name)s is loaded.") if outcome == "done" else _("%(name)s is loading.")
    return words % {"name": model}


def _unload(model: str, by: Actor) -> str:
    outcome = engine_requests.unload(model, wait_s=NOT_YET_S)
    record("model_unloaded", by, Subject("", model))
    if outcome == "done":
        return _("%(name)s is unloaded.") % {"name": model}
    return _("%(name)s stops once its callers are served.") % {"name": model}


_ACTIONS: dict[str, Callable[[str, Actor], str]] = {
    "enable": _switch(lambda name: _("%(name)s is enabled.") % {"name": name}, enabled=True),
    "disable": _switch(lambda name: _("%(name)s is disabled.") % {"name": name}, enabled=False),
    "pin": _switch(lambda name: _("%(name)s stays in memory.") % {"name": name}, pinned=True),
    "unpin": _switch(
        lambda name: _("%(name)s may make room for others.") % {"name": name}, pinned=False
    ),
    "default": _switch(
        lambda name: _("%(name)s is the default model.") % {"name": name}, default=True
    ),
    "load": _load,
    "unload": _unload,
}


def done(request: HttpRequest, words: str) -> HttpResponse:
    """On to where the form came from; `words` as a toast there."""
    if is_fragment(request):
        return live_part(_as_listed(request))
    if words:
        messages.success(request, words)
    return HttpResponseRedirect(_back(request))


def refused(request: HttpRequest, error: GatehouseError) -> HttpResponse:
    """The same page, with what is wrong in plain words; never an error page for a button."""
    what, more = plain(error)
    if is_fragment(request):
        return live_part(_as_listed(request), refusal=(what, more))
    messages.error(request, f"{what} {more}".strip())
    return HttpResponseRedirect(_back(request))


def _as_listed(request: HttpRequest) -> HttpRequest:
    """The live part is that of the page's own filters, which the form carries in `next`."""
    request.GET = QueryDict(_back(request).partition("?")[2])
    return request


def _back(request: HttpRequest) -> str:
    return page_before(request)
