"""The slow door's front: path, host, CORS, gate, CSRF and headers, for everything Django serves.

The lane calls the same plain functions; this file only fits them to Django's request.
"""

import logging
import time
from collections.abc import Callable
from typing import cast
from urllib.parse import quote, urlencode

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import Resolver404, ResolverMatch, resolve
from django.utils import translation

from accounts.credentials import lookups, without_accounts
from accounts.csrf import refuse_foreign_origin
from accounts.failures import forbidden, wants_page
from accounts.gate import admit, is_there, methods_of, requirement_for
from accounts.hosts import allowed_hosts
from accounts.limits import take_for
from accounts.lookup import load_principal, touch
from accounts.runtime import auth_mode, env, exemptions, keyring, stored_settings
from accounts.runtime_settings import in_force
from accounts.ui.preferences import language_for
from core import call_times, correlation
from core.call import correlation_id_for
from core.drf import error_response
from core.envelopes import Family, refusal_family
from core.errors import (
    ForbiddenError,
    GatehouseError,
    InvalidRequestError,
    MethodNotAllowedError,
    NotFoundError,
    UnauthenticatedError,
    UnavailableError,
)
from core.http import GatedRequest
from core.paths import canonical_path
from core.principal import Principal
from core.response_headers import PREFLIGHT_HEADERS, SECURITY_HEADERS, HostRules, OriginRules

log = logging.getLogger("gatehouse.web")
GetResponse = Callable[[HttpRequest], HttpResponse]


def host_rules() -> HostRules:
    return HostRules(frozenset(allowed_hosts()))


def raw_headers(request: HttpRequest) -> dict[bytes, bytes]:
    """The headers as the resolver reads them in either door: lower-case names, latin-1 bytes."""
    return {
        name.lower().encode("latin-1"): value.encode("latin-1", "replace")
        for name, value in request.headers.items()
    }


def find_principal(headers: dict[bytes, bytes]) -> Principal | None:
    """Who is calling, asked of the database: the slow door remembers nobody."""
    for kind, wanted in lookups(auth_mode(), keyring("session"), headers):
        principal = load_principal(kind, wanted)
        if principal is not None:
            if principal.stale:
                touch(principal)
            return principal
    return without_accounts(auth_mode(), headers)


class FrontMiddleware:
    """Correlation id and common headers around everything; path, host and preflight first."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response
        self._hosts = host_rules()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        origins = _fresh_origin_rules()
        given = request.headers.get("x-correlation-id", "")
        correlation_id = correlation_id_for(given.encode()).decode()
        began, before = time.perf_counter(), correlation.current.set(correlation_id.encode())
        try:
            response = self._answer(request, origins)
        finally:
            correlation.current.reset(before)
        _count(request, time.perf_counter() - began)
        response["X-Correlation-ID"] = correlation_id
        if not response.streaming and "Content-Length" not in response:
            response["Content-Length"] = str(len(response.content))
        for name, value in SECURITY_HEADERS:
            response.headers.setdefault(name.decode(), value.decode())
        origin = request.headers.get("origin")
        for name, value in origins.headers(origin.encode("latin-1") if origin else None):
            response[name.decode()] = value.decode()
        return response

    def _answer(self, request: HttpRequest, origins: OriginRules) -> HttpResponse:
        host = request.headers.get("host", "").encode("latin-1", "replace")
        try:
            if "%00" in request.META.get("QUERY_STRING", ""):
                raise InvalidRequestError("The query string is not valid.")
            path = canonical_path(quote(request.path_info, safe="/%:@!$&'()*+,;=~-._").encode())
            if not self._hosts.permits(host):
                raise InvalidRequestError("This server does not answer to that host name.")
        except GatehouseError as exc:
            return error_response(exc, "openai", opaque=env().opaque_errors)
        request.path_info = request.path = path
        if request.method == "OPTIONS":
            response = HttpResponse(status=204)
            if origins.enabled:
                for name, value in PREFLIGHT_HEADERS:
                    response[name.decode()] = value.decode()
            return response
        return self._get_response(request)


def _fresh_origin_rules() -> OriginRules:
    """The rules in force. Looks whether settings have changed, for all that this request will ask."""
    try:
        stored_settings().fresh()
        return in_force.origin_rules()
    except UnavailableError:  # the gate says it
        return OriginRules()


def _count(request: HttpRequest, seconds: float) -> None:
    """Into the call times, by the route that the gate found."""
    match = request.resolver_match
    path = f"/{match.route}" if match is not None else call_times.UNKNOWN
    if match is None and request.path_info.startswith(settings.STATIC_URL):
        path = f"{settings.STATIC_URL}<path>"
    if path not in call_times.UNCOUNTED:
        call_times.observe(path, request.method or "", seconds)


class GateMiddleware:
    """Resolves the route and the caller, and lets through what the table lets through."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        gated = cast("GatedRequest", request)
        gated.principal = None
        family: Family = "openai"
        page = flat = False
        try:
            match = request.resolver_match = self._match(request)
            headers = raw_headers(request)
            gated.principal = find_principal(headers)
            if match is None:
                if gated.principal is None:  # unknown paths are 401 for nobody (contract 4.2)
                    raise UnauthenticatedError
                return self._get_response(request)
            page = is_page(match)
            view = getattr(match.func, "cls", None)
            family = getattr(view, "family", "openai")
            flat = getattr(view, "flat_refusals", False)
            name, method = match.view_name or "", request.method or ""
            mode = auth_mode()
            if not is_there(
                name,
                accounts=mode.accounts,
                legacy_keys=mode.has_legacy_keys,
                runtime_settings=not env().disable_runtime_settings,
            ):
                if gated.principal is None:
                    raise UnauthenticatedError
                raise NotFoundError
            requirement = requirement_for(name, method)
            if gated.principal is None and method in {"GET", "HEAD"} and not page:
                gated.principal = exemptions().principal_for(request.path_info, requirement)
            if requirement is None and gated.principal is not None and methods_of(name):
                raise MethodNotAllowedError
            refuse_foreign_origin(headers, method, name)
            admit(gated.principal, requirement)
            take_for(name, request)
        except GatehouseError as exc:
            if flat and exc.http_status == 403:  # E-39 says it in its handler's words
                exc = ForbiddenError("admin access required")
                return error_response(exc, family, opaque=env().opaque_errors)
            return self._refuse(gated, exc, page=page, family=family)
        return self._get_response(request)

    @staticmethod
    def _match(request: HttpRequest) -> ResolverMatch | None:
        try:
            return resolve(request.path_info)
        except (Resolver404, Http404):
            return None

    @staticmethod
    def _refuse(
        request: GatedRequest, error: GatehouseError, *, page: bool, family: Family
    ) -> HttpResponse:
        if page and isinstance(error, UnauthenticatedError):
            query = urlencode({"next": request.get_full_path()})
            return HttpResponseRedirect(f"/login?{query}")
        if page and isinstance(error, ForbiddenError) and request.method == "GET":
            duty = request.principal.duty if request.principal else None
            return HttpResponseRedirect(f"/{duty}" if duty else "/app?notice=admins_only")
        if page and isinstance(error, ForbiddenError) and wants_page(request):
            with translation.override(language_for(request)):
                return forbidden(request)
        nested = refusal_family(family, error.http_status)
        return error_response(error, nested, opaque=env().opaque_errors)


def is_page(match: ResolverMatch) -> bool:
    """HTML pages say so themselves; Django's admin site is all pages."""
    return match.app_name == "admin" or getattr(match.func, "is_page", False)
