"""Start and callback of a provider's sign-in (E-33 to E-36), with what it is for kept in the state."""

import logging
import secrets
from typing import Any, Literal, cast
from urllib.parse import urlencode

import requests
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers.base.constants import AuthProcess
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.views.decorators.http import require_GET

from accounts import sign_in
from accounts.api import bodies
from accounts.audit import Subject, actor_of, record
from accounts.pages import HOME, going_on, next_path, page, with_next
from accounts.registration import Terms
from accounts.runtime import env
from accounts.social import links, trial
from accounts.social.adapters import CheckedLogin
from accounts.social.arrival import arrive
from accounts.social.identity import Identity, SignInRefusedError, identity_of
from accounts.social.logout import SESSION_ID_TOKEN
from accounts.social.oidc import adapter_for, provider_for
from core.declared import declares
from core.http import GatedRequest

log = logging.getLogger("gatehouse.sign-in")
Purpose = Literal["sign-in", "link", "trial"]
START_S = 15 * 60
MAX_CODE_CHARS = 200


class _Callback(OAuth2CallbackView):  # type: ignore[misc]  # the package has no types
    """allauth's callback; the adapter gets to see the state, which holds the nonce."""

    def _get_state(self, request: HttpRequest, provider: Any) -> Any:
        state, response = super()._get_state(request, provider)
        self.adapter.state = state or {}
        return state, response


def begin(request: HttpRequest, provider: str, purpose: Purpose, **more: str) -> HttpResponse:
    """Send the browser to `provider`. Only what is passed here is kept; the query decides nothing."""
    try:
        found = provider_for(request, provider)
    except SocialApp.DoesNotExist as exc:
        raise Http404 from exc
    if cast("GatedRequest", request).principal is None:
        request.session.set_expiry(START_S)  # a started sign-in is no session of 30 days
    extra: dict[str, Any] = {}
    if provider == "oidc":
        nonce = secrets.token_urlsafe(24)
        extra = {"auth_params": {"nonce": nonce}, "nonce": nonce}
    try:
        response: HttpResponse = found.redirect(
            request,
            AuthProcess.LOGIN,
            next_url=HOME,
            headless=True,
            data={"purpose": purpose, **more},
            **extra,
        )
    except (requests.RequestException, OAuth2Error) as exc:
        return refused(request, provider, SignInRefusedError("provider_unavailable", str(exc)), {})
    return response if request.method == "GET" else going_on(request, response.headers["location"])


@page
@require_GET
@declares("Sign in with a provider", query=bodies.ProviderStart, status=302, errors=(404,))
def start(request: HttpRequest, provider: str) -> HttpResponse:
    """E-33 and E-35. Invite code, set-up token and where to go go into the server-side state (S-30)."""
    given = {
        name: request.GET.get(name, "")[:MAX_CODE_CHARS] for name in ("invite_code", "setup_token")
    }
    return begin(request, provider, "sign-in", next=next_path(request), **given)


@page
@require_GET
@declares("Back from a provider", query=bodies.ProviderAnswer, status=302, errors=(404,))
def callback(request: HttpRequest, provider: str) -> HttpResponse:
    """E-34 and E-36. Whatever happens, the browser lands on a page of ours (W-15)."""
    try:
        provider_for(request, provider)
    except SocialApp.DoesNotExist as exc:
        raise Http404 from exc
    adapter = adapter_for(request, provider)
    try:
        _Callback.adapter_view(adapter)(request)
        raise SignInRefusedError("provider_error", "the handshake came to no end")
    except CheckedLogin as checked:
        try:
            identity = identity_of(checked.login, groups_claim=env().oidc_groups_claim)
            return _finish(request, identity, adapter.state.get("data") or {})
        except SignInRefusedError as exc:
            return refused(request, provider, exc, adapter.state.get("data") or {})
    except SignInRefusedError as exc:
        return refused(request, provider, exc, adapter.state.get("data") or {})
    except (
        ImmediateHttpResponse,
        requests.RequestException,
        OAuth2Error,
        KeyError,
        ValueError,
    ) as exc:
        error = SignInRefusedError("provider_error", f"{type(exc).__name__}: {exc}"[:300])
        return refused(request, provider, error, adapter.state.get("data") or {})


def _finish(request: HttpRequest, identity: Identity, data: dict[str, str]) -> HttpResponse:
    terms = Terms(data.get("invite_code", "").strip(), data.get("setup_token", ""))
    if data.get("purpose") == "trial":
        return trial.show(request, identity, terms)
    if data.get("purpose") == "link":
        return links.add(request, identity, wanted_by=data.get("user_id", ""))
    arrival = arrive(identity, terms, now=timezone.now(), by=actor_of(request))
    try:
        owed = sign_in.enter(request, arrival.user, method=identity.provider)
    except sign_in.AccountPendingError as exc:
        raise SignInRefusedError("account_pending") from exc
    except sign_in.AccountDisabledError as exc:
        raise SignInRefusedError("account_disabled") from exc
    if identity.raw_id_token:
        request.session[SESSION_ID_TOKEN] = identity.raw_id_token
    wanted = data.get("next", HOME)
    return HttpResponseRedirect(with_next("/login/code", wanted) if owed else wanted)


def refused(
    request: HttpRequest, provider: str, error: SignInRefusedError, data: dict[str, str]
) -> HttpResponse:
    """To where the flow began, with one of S-40's codes; the exact reason only to an admin's test."""
    log.info("sign-in with %s refused: %s", provider, error.code)
    if data.get("purpose") == "trial":
        return trial.show_refusal(request, provider, error)
    if data.get("purpose") == "link":
        return HttpResponseRedirect(f"{links.PAGE}?{urlencode({'error': error.code})}")
    if error.code not in {"account_pending", "account_disabled"}:  # those are in the trail already
        after = {"method": provider, "reason": error.code}
        record("sign_in_failed", actor_of(request), Subject("", ""), after=after)
    if error.code == "account_pending":
        return HttpResponseRedirect("/waiting")
    return HttpResponseRedirect("/login?" + urlencode({"error": error.code}))
