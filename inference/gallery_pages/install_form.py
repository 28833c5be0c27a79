"""`/app/models/install`: an entry under a name of one's own, with other options or aliases."""

from dataclasses import dataclass
from math import isfinite
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts.audit import actor_of
from accounts.pages import page
from core.errors import GatehouseError, InvalidRequestError
from inference import asked_operations
from inference.gallery import Found, find
from inference.gallery_pages.shown_models import options_of
from inference.gallery_pages.words import plain
from inference.wanted_models import wish_in

OPTION = "option-"


@dataclass(frozen=True, slots=True)
class Field:
    """One option as a field: its type, what it is without a choice, and what was typed."""

    name: str
    type: str
    default: str
    help: str
    value: str
    id: str


@page
@require_http_methods(["GET", "POST"])
def install_form(request: HttpRequest) -> HttpResponse:
    given = request.POST if request.method == "POST" else request.GET
    found = find(given.get("id", "")[:500], offline=True)
    if found is None:
        raise Http404
    typed = {key: str(value) for key, value in given.items()}
    if request.method == "GET":
        return _shown(request, found, typed)
    by = actor_of(request)
    try:
        wish = wish_in(_body(found, typed), by.name)
        asked_operations.start(wish, key="", by=by)
    except GatehouseError as exc:
        return _shown(request, found, typed, exc)
    messages.success(request, _("%(name)s is being installed.") % {"name": wish.target})
    return HttpResponseRedirect(reverse("models-page"))


def _body(found: Found, typed: dict[str, str]) -> dict[str, Any]:
    """As `POST /models/apply` takes it. Raises InvalidRequestError for a number that is none."""
    body: dict[str, Any] = {"id": found.id}
    name = typed.get("name", "").strip()
    if name and name != found.entry.name:
        body["name"] = name
    if aliases := typed.get("aliases", "").replace(",", " ").split():
        body["aliases"] = aliases
    options = {}
    for option, kind, _default, _help in options_of(found.entry.recipe_name):
        text = typed.get(f"{OPTION}{option}", "").strip()
        if text:
            options[option] = _value(option, kind, text)
    if options:
        body["overrides"] = {"options": options}
    return body


def _value(name: str, kind: str, text: str) -> str | int | float | bool:
    try:
        if kind == "integer":
            return int(text)
        if kind == "number":
            number = float(text)
            if isfinite(number):
                return number
            raise ValueError
    except ValueError:
        wanted = _("Enter a whole number.") if kind == "integer" else _("Enter a number.")
        raise InvalidRequestError(wanted, param=f"{OPTION}{name}") from None
    return text == "true" if kind == "boolean" else text


def _shown(
    request: HttpRequest, found: Found, typed: dict[str, str], error: GatehouseError | None = None
) -> HttpResponse:
    own = found.entry.options
    fields = [
        Field(
            name,
            kind,
            str(own.get(name, default)),
            words,
            typed.get(f"{OPTION}{name}", ""),
            f"{OPTION}{name}",
        )
        for name, kind, default, words in options_of(found.entry.recipe_name)
    ]
    ids = {"name", "aliases", *(each.id for each in fields)}
    at = error.param if error is not None and error.param in ids else ""
    shown = {
        "found": found,
        "entry": found.entry,
        "fields": fields,
        "typed": typed,
        "error": plain(error) if error is not None and not at else None,
        "wrong": at,
        "words": " ".join(plain(error)).strip() if error is not None else "",
    }
    return render(request, "inference/model_install.html", shown, status=422 if error else 200)
