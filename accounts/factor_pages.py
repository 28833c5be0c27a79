"""The pages of second factors: the code after a password, and setting one-time codes up."""

from allauth.mfa.adapter import get_adapter
from allauth.mfa.totp.internal.auth import generate_totp_secret
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.safestring import mark_safe
from django.views.decorators.http import require_http_methods

from accounts.api.factors import SECRET
from accounts.audit import actor_of
from accounts.factors import authenticators, challenge
from accounts.pages import context, current_user, next_path, page
from accounts.wording import plain_words
from core.errors import GatehouseError, UnauthenticatedError


@page
@require_http_methods(["GET", "POST"])
def code_page(request: HttpRequest) -> HttpResponse:
    """Ask for the code that a half-open sign-in still owes."""
    shown = context(request)
    try:
        shown["has_passkey"] = "passkey" in authenticators.methods_of(challenge.whose(request))
        if request.method == "POST":
            challenge.complete(request, code=request.POST.get("code", ""))
            return HttpResponseRedirect(next_path(request))
    except UnauthenticatedError:
        return HttpResponseRedirect("/login")
    except GatehouseError as exc:
        shown["error"] = plain_words(exc)
        return render(request, "accounts/code.html", shown, status=422)
    return render(request, "accounts/code.html", shown)


@page
@require_http_methods(["GET", "POST"])
def set_up(request: HttpRequest) -> HttpResponse:
    """Set up one-time codes, also for whoever has to before anything else."""
    user, adapter = current_user(request), get_adapter()
    shown = context(request, required=authenticators.is_required_of(user))
    if authenticators.methods_of(user):
        return HttpResponseRedirect("/app/account/security")
    status = 200
    if request.method == "POST" and request.session.get(SECRET):
        secret = adapter.decrypt(request.session[SECRET])
        try:
            challenge.take_try(request, user)
            codes = authenticators.add_totp(
                user, secret, request.POST.get("code", ""), by=actor_of(request)
            )
        except GatehouseError as exc:
            shown["error"], status = plain_words(exc), 422
        else:
            del request.session[SECRET]
            return render(request, "accounts/recovery_codes.html", {**shown, "codes": codes})
    else:
        secret = generate_totp_secret()
        request.session[SECRET] = adapter.encrypt(secret)
    uri = adapter.build_totp_url(user, secret)
    picture = mark_safe(adapter.build_totp_svg(uri))  # noqa: S308  # drawn by us, of our own address
    shown.update(secret=secret, picture=picture)
    return render(request, "accounts/factor.html", shown, status=status)
