"""`/app/backends`: what runs the models: installing, upgrading side by side, removing (R-20, R-33)."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.audit import actor_of
from accounts.pages import page
from accounts.runtime import env
from core.errors import ForbiddenError, GatehouseError
from inference import asked_backends, backend_galleries, backend_work
from inference.api.gallery_requests import element_id
from inference.backends_here import installed_backends
from inference.gallery_pages.models import is_fragment
from inference.gallery_pages.shown_backends import listed_backends
from inference.gallery_pages.words import plain
from inference.models import Model

PAGE, TABLE = "inference/backends.html", "inference/partials/backends_table.html"
LIVE = "inference/partials/backends_live.html"
HOME = "backends-page"


@page
@require_GET
def backends(request: HttpRequest) -> HttpResponse:
    """The page; for htmx, the table alone, once the galleries elsewhere were asked."""
    shown = listed_backends(wait="wait" in request.GET)
    return render(request, TABLE if is_fragment(request) else PAGE, shown)


@page
@require_GET
def live(request: HttpRequest) -> HttpResponse:
    """What changes by itself; it is polled."""
    return _live(request)


@page
@require_POST
def check(request: HttpRequest) -> HttpResponse:
    """The galleries are read anew, as `POST /api/backends/upgrades/check` does."""
    backend_galleries.look_again()
    n = len(backend_work.upgrades())
    words = ngettext("%(n)s upgrade is available.", "%(n)s upgrades are available.", n)
    messages.success(request, words % {"n": n} if n else _("Every backend is up to date."))
    return HttpResponseRedirect(reverse(HOME))


@page
@require_POST
def install(request: HttpRequest) -> HttpResponse:
    try:
        asked_for = element_id(request.POST.get("id", ""), "backend")
        asked_backends.install(asked_for, by=actor_of(request))
    except GatehouseError as exc:
        return _refused(request, exc)
    return _done(request, _("The backend is being installed."))


@page
@require_POST
def upgrade(request: HttpRequest, name: str) -> HttpResponse:
    try:
        asked_backends.upgrade(name, by=actor_of(request))
    except GatehouseError as exc:
        return _refused(request, exc)
    return _done(request, _("The backend is being upgraded."))


@page
@require_http_methods(["GET", "POST"])
def remove(request: HttpRequest, name: str) -> HttpResponse:
    """Asks first, as deleting a model does. Its models stay, and say what they miss (R-05)."""
    if request.method == "GET" or "sure" not in request.POST:
        if name not in installed_backends():
            raise Http404
        n_models = Model.objects.filter(backend=name).count()
        return render(request, "inference/backend_remove.html", {"name": name, "n": n_models})
    try:
        asked_backends.delete(element_id(name, "backend"), by=actor_of(request))
    except GatehouseError as exc:
        return _refused(request, exc)
    return _done(request, _("The backend is being removed."))


@page
@require_http_methods(["GET", "POST"])
def external(request: HttpRequest) -> HttpResponse:
    """A recipe at an address that the environment lets in (R-20)."""
    shown: dict[str, Any] = {
        "may_add": bool(env().external_backends),
        "allowed": [uri for uri in env().external_backends if uri.startswith("https:")],
        "typed": request.POST,
    }
    if request.method == "GET":
        return render(request, "inference/backend_external.html", shown)
    uri, name, alias = (request.POST.get(key, "").strip() for key in ("uri", "name", "alias"))
    try:
        asked_backends.install_from(uri[:2000], name[:200], alias[:200], by=actor_of(request))
    except GatehouseError as exc:
        wrong = exc.param if exc.param in {"uri", "name", "alias"} else "uri"
        is_closed = isinstance(exc, ForbiddenError)
        shown |= {"wrong": "form" if is_closed else wrong, "words": " ".join(plain(exc)).strip()}
        return render(request, "inference/backend_external.html", shown, status=422)
    messages.success(request, _("The backend is being installed."))
    return HttpResponseRedirect(reverse(HOME))


def _done(request: HttpRequest, words: str) -> HttpResponse:
    if is_fragment(request):
        return _live(request)
    messages.success(request, words)
    return HttpResponseRedirect(reverse(HOME))


def _refused(request: HttpRequest, error: GatehouseError) -> HttpResponse:
    what, more = plain(error)
    if is_fragment(request):
        return _live(request, refusal=(what, more))
    messages.error(request, f"{what} {more}".strip())
    return HttpResponseRedirect(reverse(HOME))


def _live(request: HttpRequest, **extra: Any) -> HttpResponse:
    all_cards = request.method == "POST" or "all" in request.GET
    shown = {**listed_backends(wait=False), **extra, "all_cards": all_cards}
    return render(request, LIVE, shown)
