"""`/app/models`: what there is to install, what is installed, and how installations get on."""

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from accounts.pages import page
from inference.gallery import expire_all
from inference.gallery_pages.listed_models import listed

PAGE, FOUND = "inference/models.html", "inference/partials/models_found.html"
LIVE = "inference/partials/models_live.html"


@page
@require_GET
def models(request: HttpRequest) -> HttpResponse:
    """The page; for htmx, only what its filters change."""
    shown = listed(request.GET, wait="wait" in request.GET)
    return render(request, FOUND if is_fragment(request) else PAGE, shown)


@page
@require_GET
def live(request: HttpRequest) -> HttpResponse:
    """What changes by itself: the panel of operations, and the cards or rows they concern."""
    return live_part(request)


def live_part(request: HttpRequest, **extra: Any) -> HttpResponse:
    """Galleries elsewhere are not asked for this: it is polled.

    After a button all cards are told anew: what it took away is nobody's operation any more.
    """
    all_cards = request.method == "POST" or "all" in request.GET
    shown = {**listed(request.GET, wait=False), **extra, "all_cards": all_cards}
    return render(request, LIVE, shown)


@page
@require_POST
def read_again(_request: HttpRequest) -> HttpResponse:
    """Galleries elsewhere are fetched anew; the page that follows does so."""
    expire_all()
    return HttpResponseRedirect(reverse("models-page"))


def is_fragment(request: HttpRequest) -> bool:
    return request.headers.get("hx-request") == "true"
