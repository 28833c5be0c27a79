"""The signed-in person's profile and linked sign-ins, and the admins' page of sign-in providers."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import own_account
from accounts.api.account import avatar
from accounts.audit import actor_of
from accounts.feature_words import in_order, label
from accounts.features import features_of
from accounts.models import IdentityProvider, User
from accounts.models.people import Theme
from accounts.page_sources import model_names, quota_lines
from accounts.pages import PROVIDER_NAMES, current_user, page
from accounts.social import availability, links
from accounts.social.views import begin
from accounts.wording import in_words
from core.drf import required_name
from core.errors import GatehouseError

FEATURES_NAMED = 4


def tabs(current: str) -> list[dict[str, Any]]:
    """The three pages of an account."""
    shown = (
        ("account", _("Profile")),
        ("account-security", _("Security")),
        ("account-keys", _("API keys")),
    )
    return [
        {"label": words, "href": reverse(name), "current": name == current} for name, words in shown
    ]


@page
@require_http_methods(["GET", "POST"])
def account(request: HttpRequest) -> HttpResponse:
    """Name and picture (E-08), what one may use, and how the pages look."""
    user = current_user(request)
    given = {"name": user.name, "avatar_url": user.avatar_url}
    errors: dict[str, str] = {}
    if request.method == "POST":
        given = {name: request.POST.get(name, "").replace("\0", "") for name in given}
        try:
            name, avatar_url = required_name(given["name"]), avatar(given["avatar_url"])
            own_account.set_profile(user.pk, name=name, avatar_url=avatar_url, by=actor_of(request))
        except GatehouseError as exc:
            errors[exc.param or "name"] = in_words(exc)
        else:
            messages.success(request, _("Your profile is saved."))
            return HttpResponseRedirect(reverse("account"))
    shown = {
        "tabs": tabs("account"),
        "person": user,
        "given": given,
        "errors": errors,
        "access": access_of(user),
        "themes": Theme.choices,
        "shortcuts": "on" if user.shortcuts else "off",
        "shortcut_choices": [("on", _("On")), ("off", _("Off"))],
        "languages": [("", _("As the browser")), *settings.LANGUAGES],
    }
    return render(request, "accounts/account.html", shown, status=422 if errors else 200)


def access_of(user: User) -> dict[str, Any]:
    """What an account may use, in words: an admin everything, whatever is stored."""
    if user.role == "admin":
        return {"everything": True}
    names = [label(name) for name in in_order(features_of(user.role, user.permissions))]
    allowed = set(user.allowed_models)
    known = [name for name, _words in model_names()]
    lines = quota_lines(str(user.pk))
    return {
        "features": names[:FEATURES_NAMED],
        "more_features": len(names) - FEATURES_NAMED,
        "restricted": user.models_restricted,
        "allowed": len(allowed.intersection(known)),
        "known": len(known),
        "quota": lines[0] if lines else "",
        "more_quotas": len(lines) - 1,
    }


@page
@require_POST
def link(request: HttpRequest, provider: str) -> HttpResponse:
    return begin(request, provider, "link", user_id=str(current_user(request).pk))


@page
@require_POST
def unlink(request: HttpRequest, provider: str) -> HttpResponse:
    try:
        links.remove(current_user(request), provider, by=actor_of(request))
    except GatehouseError as exc:
        messages.error(request, in_words(exc))
    else:
        messages.success(request, _("The provider is unlinked."))
    return HttpResponseRedirect(links.PAGE)


@page
@require_GET
def providers(request: HttpRequest) -> HttpResponse:
    """Each configured provider, whether it works, and why not."""
    kept = {row.name: row for row in IdentityProvider.objects.all()}
    shown = [(name, PROVIDER_NAMES[name], kept.get(name)) for name in availability.configured()]
    return render(request, "accounts/providers.html", {"providers": shown})


@page
@require_POST
def test_provider(request: HttpRequest, provider: str) -> HttpResponse:
    return begin(request, provider, "trial")
