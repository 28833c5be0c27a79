"""Where the links of letters lead: forgotten password, new password, confirmed address."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts import email_proofs
from accounts.audit import actor_of
from accounts.limits import take_sign_in
from accounts.pages import context, page
from accounts.passwords import PasswordError
from accounts.registration import normalised_email
from accounts.wording import field_words, plain_words
from core.errors import GatehouseError, InvalidRequestError


@page
@require_http_methods(["GET", "POST"])
def forgot(request: HttpRequest) -> HttpResponse:
    """Ask for a link; the answer is the same whoever is there."""
    shown = context(request)
    if request.method == "POST":
        try:
            take_sign_in(request)
            email_proofs.forgotten(normalised_email(request.POST.get("email", "")))
            shown["sent"] = True
        except GatehouseError as exc:
            shown["errors"] = field_words(exc)
            shown["error"] = None if shown["errors"] else plain_words(exc)
            shown["email"] = request.POST.get("email", "")
            return render(request, "accounts/forgot.html", shown, status=422)
    return render(request, "accounts/forgot.html", shown)


@page
@require_http_methods(["GET", "POST"])
def reset(request: HttpRequest, token: str) -> HttpResponse:
    """Choose a new password with the mailed link."""
    shown = context(request, token=token)
    if request.method == "GET":
        return render(request, "accounts/reset.html", shown)
    password = request.POST.get("password", "")
    try:
        if password != request.POST.get("password2", ""):
            raise InvalidRequestError("the two passwords differ", param="password2")
        take_sign_in(request)
        acknowledged = request.POST.get("acknowledge") == "on"
        email_proofs.reset_password(
            token, password, acknowledged=acknowledged, by=actor_of(request)
        )
    except GatehouseError as exc:
        shown["may_acknowledge"] = isinstance(exc, PasswordError) and exc.overridable
        shown["errors"] = field_words(exc)
        shown["error"] = None if shown["errors"] else plain_words(exc)
        return render(request, "accounts/reset.html", shown, status=422)
    messages.success(request, _("Your new password is set. Sign in with it."))
    return HttpResponseRedirect("/login")


@page
@require_http_methods(["GET", "POST"])
def verify(request: HttpRequest, token: str) -> HttpResponse:
    """A button, because mail programs follow links by themselves."""
    shown = context(request, token=token)
    if request.method == "POST":
        try:
            user = email_proofs.verify(token, by=actor_of(request))
        except GatehouseError as exc:
            shown["error"] = plain_words(exc)
            return render(request, "accounts/verify.html", shown, status=422)
        return HttpResponseRedirect("/login" if user.is_active else "/waiting")
    return render(request, "accounts/verify.html", shown)
