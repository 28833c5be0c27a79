"""The pages before somebody is known: sign-in, registration, invite, waiting; and sign-out."""

from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts import password_form, sessions
from accounts.audit import actor_of
from accounts.limits import take_sign_in
from accounts.models import User
from accounts.passwords import PasswordError
from accounts.registration import Registration, needs_setup_token, register
from accounts.runtime import auth_mode, env
from accounts.runtime_settings.in_force import registration_mode
from accounts.sign_in import AccountPendingError, sign_in, sign_in_with_token
from accounts.social.availability import offered
from accounts.social.logout import end_session_url
from accounts.wording import plain_words, social_words
from core.errors import GatehouseError
from core.http import GatedRequest

Page = Callable[..., HttpResponse]
HOME = "/app"
PROVIDER_NAMES = {"github": "GitHub", "oidc": "SSO"}


def page(view: Page) -> Page:
    """Mark a view as an HTML page, for the gate's way of refusing; never cached."""
    marked = never_cache(view)
    marked.is_page = True  # type: ignore[attr-defined]
    return marked


def current_user(request: HttpRequest) -> User:
    """The signed-in person; only behind a line of the gate that asks for one."""
    principal = cast("GatedRequest", request).principal
    assert principal is not None  # noqa: S101  # the gate saw to it
    return User.objects.get(pk=principal.user_id)


def going_on(request: HttpRequest, url: str) -> HttpResponse:
    """To another server after a form of ours: `form-action 'self'` forbids a redirect there."""
    host = urlsplit(url).netloc
    return render(request, "accounts/continue.html", {"url": url, "host": host})


def next_path(request: HttpRequest) -> str:
    """Where to go afterwards: a path of this server that the query or form names, else home."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    safe = url_has_allowed_host_and_scheme(wanted, allowed_hosts=None)
    return wanted if safe and wanted.startswith("/") else HOME


def context(request: HttpRequest, **extra: Any) -> dict[str, Any]:
    """What the gate family of templates needs."""
    return {
        "registration_mode": registration_mode(),
        "first_run": env().auth and not User.objects.exists(),
        "next": next_path(request),
        "providers": [(name, PROVIDER_NAMES[name]) for name in offered()] if env().auth else [],
        "local_auth": env().auth and not env().disable_local_auth,
        **extra,
    }


@page
@require_http_methods(["GET", "POST"])
def login(request: HttpRequest) -> HttpResponse:
    """Email and password, or an API key."""
    if request.method == "GET":
        if getattr(request, "principal", None) is not None:
            return HttpResponseRedirect(next_path(request))
        shown = context(request)
        if shown["first_run"] and shown["local_auth"] and "error" not in request.GET:
            return HttpResponseRedirect("/register")
        with_key = "key" in request.GET or not (shown["local_auth"] or shown["providers"])
        error = social_words(request.GET.get("error", ""))
        return render(
            request, "accounts/login.html", {**shown, "with_key": with_key, "error": error}
        )
    with_key = bool(request.POST.get("token"))
    try:
        take_sign_in(request)
        if with_key:
            sign_in_with_token(request, request.POST["token"])
        else:
            email, password = request.POST.get("email", ""), request.POST.get("password", "")
            _user, owed = sign_in(request, email, password)
            if owed:
                return HttpResponseRedirect("/login/code")
    except GatehouseError as exc:
        if isinstance(exc, AccountPendingError):
            return HttpResponseRedirect("/waiting")
        words = plain_words(exc)
        email = request.POST.get("email", "")
        shown = context(request, error=words, email=email, with_key=with_key)
        return render(request, "accounts/login.html", shown, status=422)
    return HttpResponseRedirect(next_path(request))


@page
@require_http_methods(["GET", "POST"])
def register_page(request: HttpRequest, code: str = "") -> HttpResponse:
    """Registration, also from an invite link, also of the first admin."""
    form = {"email": "", "name": "", "invite_code": code}
    if auth_mode().is_open or not env().auth:
        return HttpResponseRedirect(HOME)
    if request.method == "GET":
        return _register_form(request, form)
    form = {name: request.POST.get(name, "") for name in ("email", "name", "invite_code")}
    password = request.POST.get("password", "")
    if password != request.POST.get("password2", ""):
        return _register_form(request, form, error=("The two passwords differ.", ""))
    asked = Registration(
        email=form["email"],
        password=password,
        name=form["name"],
        invite_code=form["invite_code"],
        acknowledge_weak_password=request.POST.get("acknowledge") == "on",
        setup_token=request.POST.get("setup_token", ""),
    )
    try:
        take_sign_in(request)
        outcome = register(asked, now=timezone.now(), by=actor_of(request))
    except PasswordError as exc:
        error = (exc.message, "")
        return _register_form(request, form, error=error, may_acknowledge=exc.overridable)
    except GatehouseError as exc:
        return _register_form(request, form, error=plain_words(exc))
    if outcome.pending:
        return HttpResponseRedirect(
            "/waiting?for=mail" if outcome.waits_for == "mail" else "/waiting"
        )
    if outcome.user is None:
        return HttpResponseRedirect("/login")
    sessions.begin(request, outcome.user, method="registration")
    return HttpResponseRedirect(HOME)


def _register_form(
    request: HttpRequest,
    form: dict[str, str],
    *,
    error: tuple[str, str] | None = None,
    may_acknowledge: bool = False,
) -> HttpResponse:
    shown = context(
        request,
        form=form,
        error=error,
        may_acknowledge=may_acknowledge,
        needs_setup_token=needs_setup_token(),
    )
    return render(request, "accounts/register.html", shown, status=422 if error else 200)


@page
@require_http_methods(["GET"])
def waiting(request: HttpRequest) -> HttpResponse:
    """Somebody whose account waits for approval has no session; the page says what to expect."""
    return render(
        request, "accounts/waiting.html", context(request, mail=request.GET.get("for") == "mail")
    )


@page
@require_http_methods(["GET", "POST"])
def password_page(request: HttpRequest) -> HttpResponse:
    """A new password, also for whoever was given one by an admin and has to replace it."""
    user = current_user(request)
    shown = context(request, must=user.must_change_password)
    if request.method == "GET":
        return render(request, "accounts/password.html", shown)
    refusal = password_form.take(request, user)
    if refusal is not None:
        shown.update(error=refusal.words, may_acknowledge=refusal.may_acknowledge)
        return render(request, "accounts/password.html", shown, status=422)
    messages.success(request, "Your password is changed. Other devices are signed out.")
    return HttpResponseRedirect(HOME)


@page
@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    """Sign out here, and at the provider the session came from (S-43)."""
    elsewhere = end_session_url(request)
    sessions.end(request)
    return going_on(request, elsewhere) if elsewhere else HttpResponseRedirect("/login")
