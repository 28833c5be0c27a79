"""Pages of the frame: preferences, signing in again over a page, and the parts shown in all states."""

from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.limits import take_sign_in
from accounts.pages import HOME, is_own_path, page
from accounts.sign_in import sign_in
from accounts.ui.preferences import keep
from accounts.wording import plain_words
from core.errors import GatehouseError
from core.http import GatedRequest


def page_before(request: HttpRequest) -> str:
    """The page of ours that a form was sent from, else home."""
    given = request.POST.get("next", "") or _came_from(request)
    return given if is_own_path(given) else HOME


def _came_from(request: HttpRequest) -> str:
    """Path and query of the page of ours that the browser names; empty for any other."""
    try:
        came = urlsplit(request.headers.get("referer", ""))
    except ValueError:
        return ""
    return came._replace(scheme="", netloc="").geturl() if came.netloc == request.get_host() else ""


@page
@require_POST
def preferences(request: HttpRequest) -> HttpResponse:
    """Theme, language, single-letter keys: a script gets 204, a plain form its page again."""
    is_script = request.headers.get("x-requested-with") == "fetch"
    response = HttpResponse(status=204) if is_script else HttpResponseRedirect(page_before(request))
    keep(request, response, {name: str(value) for name, value in request.POST.items()})
    return response


@page
@require_http_methods(["GET", "POST"])
def sign_in_again(request: HttpRequest) -> HttpResponse:
    """A form for the dialog over a page whose session ended; after it, the new form token.

    Who owes a second factor, or signs in elsewhere, does so in another tab and then goes on here.
    """
    email, status = request.POST.get("email", ""), 200
    shown: dict[str, Any] = {"email": email, "error": None, "elsewhere": False}
    if request.method == "POST":
        try:
            take_sign_in(request)
            user, owed = sign_in(request, email, request.POST.get("password", ""))
            if not owed:
                done = {"user_id": str(user.pk)}
                return render(request, "accounts/partials/signed_in.html", done)
            shown["elsewhere"] = True
        except GatehouseError as exc:
            shown["error"], status = plain_words(exc), 422
    elif (principal := cast("GatedRequest", request).principal) is not None:
        done = {"user_id": principal.user_id}  # in another tab meanwhile
        return render(request, "accounts/partials/signed_in.html", done)
    return render(request, "accounts/partials/sign_in_again.html", shown, status=status)


@page
@require_GET
def components(request: HttpRequest) -> HttpResponse:
    """Every part in every state, for whoever builds or checks pages."""
    names = ["bg", "surface", "sunken", "hover", "line", "control", "text", "text-2", "text-3"]
    names += ["accent", "accent-fill", "accent-soft", "ok", "warn", "bad", "chart-2"]
    shown = {
        "colours": names,
        "tabs": [
            SimpleNamespace(label=_("Users"), href="?tab=users", current=True, count=3),
            SimpleNamespace(label=_("Invites"), href="?tab=invites", current=False, count=0),
            SimpleNamespace(label=_("Audit trail"), href="?tab=audit", current=False, count=0),
        ],
        "periods": [
            SimpleNamespace(label=_("Day"), href="?period=day", current=False),
            SimpleNamespace(label=_("Week"), href="?period=week", current=False),
            SimpleNamespace(label=_("Month"), href="?period=month", current=True),
        ],
        "page_obj": Paginator(range(240), 50).get_page(request.GET.get("page") or 2),
        "sort": request.GET.get("sort", "name"),
        "values": [3, 5, 2, 8, 6, 9, 4],
        "roles": [("user", _("User")), ("admin", _("Administrator"))],
    }
    return render(request, "accounts/components.html", shown)
