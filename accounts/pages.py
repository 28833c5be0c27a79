"""The pages before somebody is known: sign-in, registration, invite, waiting; and sign-out."""

from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts import invites, password_form, sessions
from accounts import waiting as waiting_rooms
from accounts.audit import actor_of
from accounts.limits import take_sign_in
from accounts.models import Status, User
from accounts.passwords import PasswordError
from accounts.registration import Registration, needs_setup_token, register
from accounts.runtime import auth_mode, env
from accounts.runtime_settings.in_force import registration_mode
from accounts.sign_in import AccountPendingError, sign_in, sign_in_with_token
from accounts.social.availability import offered
from accounts.social.logout import end_session_url
from accounts.wording import field_words, plain_words, social_words
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
    return wanted if is_own_path(wanted) else HOME


def is_own_path(text: str) -> bool:
    """Whether a browser that is sent there stays on this server."""
    return text.startswith("/") and url_has_allowed_host_and_scheme(text, allowed_hosts=None)


def with_next(address: str, wanted: str) -> str:
    """`address` with where to go after it; home is where one goes anyway."""
    return address if wanted == HOME else f"{address}?{urlencode({'next': wanted})}"


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
        named = [label for _name, label in shown["providers"]]
        error = social_words(request.GET.get("error", ""), named[0] if len(named) == 1 else "")
        shown |= {"with_key": with_key, "error": error, "first_field": True}
        return render(request, "accounts/login.html", shown)
    with_key = bool(request.POST.get("token"))
    try:
        take_sign_in(request)
        if with_key:
            sign_in_with_token(request, request.POST["token"])
        else:
            email, password = request.POST.get("email", ""), request.POST.get("password", "")
            _user, owed = sign_in(request, email, password)
            if owed:
                return HttpResponseRedirect(with_next("/login/code", next_path(request)))
    except GatehouseError as exc:
        if isinstance(exc, AccountPendingError):
            return _to_waiting(request.POST.get("email", ""), mail=exc.by_mail)
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
        return _register_form(request, form, errors={"password2": _("The two passwords differ.")})
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
    except GatehouseError as exc:
        return _register_refused(request, form, exc)
    if outcome.pending:
        return _to_waiting(form["email"], outcome.user, mail=outcome.waits_for == "mail")
    if outcome.user is None:
        return HttpResponseRedirect("/login")
    sessions.begin(request, outcome.user, method="registration")
    return HttpResponseRedirect(HOME)


def _register_refused(
    request: HttpRequest, form: dict[str, str], exc: GatehouseError
) -> HttpResponse:
    """The form again, with the words beside the field that is wrong, or above where it is none."""
    if errors := field_words(exc):
        may_acknowledge = isinstance(exc, PasswordError) and exc.overridable
        return _register_form(request, form, errors=errors, may_acknowledge=may_acknowledge)
    return _register_form(request, form, error=plain_words(exc))


def _register_form(
    request: HttpRequest,
    form: dict[str, str],
    *,
    error: tuple[str, str] | None = None,
    errors: dict[str, str] | None = None,
    may_acknowledge: bool = False,
) -> HttpResponse:
    status = 422 if error or errors else 200
    invite = invites.find_usable(form["invite_code"], now=timezone.now())
    if form["invite_code"] and invite is None and error is None:
        error = plain_words(invites.InviteError())
    shown = context(
        request,
        form=form,
        error=error,
        errors=errors or {},
        invited_by=invite.created_by.display_name if invite and invite.created_by else "",
        is_invited=invite is not None,
        may_acknowledge=may_acknowledge,
        needs_setup_token=needs_setup_token(),
    )
    return render(request, "accounts/register.html", shown, status=status)


def _to_waiting(email: str, user: User | None = None, *, mail: bool = False) -> HttpResponse:
    """To the waiting page, which shows this browser whose account it is."""
    email = email.strip().lower()
    response = HttpResponseRedirect("/waiting?for=mail" if mail else "/waiting")
    waiting_rooms.remember(response, email, user or _pending(email))
    return response


def _pending(email: str) -> User | None:
    return User.objects.filter(email=email, status=Status.PENDING).first()


@page
@require_http_methods(["GET", "POST"])
def waiting(request: HttpRequest) -> HttpResponse:
    """Somebody whose account waits has no session; the page says how it stands. POST forgets them."""
    if request.method == "POST":
        response: HttpResponse = HttpResponseRedirect("/login")
        waiting_rooms.forget(response)
        return response
    room = waiting_rooms.who_waits(request)
    by_mail = request.GET.get("for") == "mail"
    return render(request, "accounts/waiting.html", context(request, mail=by_mail, room=room))


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
        shown.update(refusal)
        return render(request, "accounts/password.html", shown, status=422)
    messages.success(request, _("Your password is changed. Other devices are signed out."))
    return HttpResponseRedirect(HOME)


@page
@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    """Sign out here, and at the provider the session came from (S-43)."""
    elsewhere = end_session_url(request)
    sessions.end(request)
    return going_on(request, elsewhere) if elsewhere else HttpResponseRedirect("/login")
