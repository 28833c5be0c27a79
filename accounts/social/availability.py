"""Which providers can be offered now. One that cannot be reached is left out and asked again (W-14).

The discovery document is kept in the database, so that every worker has it without asking; the
background process keeps it fresh.
"""

import logging
from datetime import timedelta
from typing import Any

import requests
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from django.db import DatabaseError
from django.utils import timezone

from accounts.models import IdentityProvider
from accounts.runtime import env

log = logging.getLogger("gatehouse.sign-in")
FRESH, RETRY = timedelta(minutes=5), timedelta(seconds=15)
MAX_REASON_CHARS = 300


def configured() -> list[str]:
    """The providers that the settings name, in the contract's order."""
    named = (("github", env().github_client_id), ("oidc", env().oidc_client_id))
    return [name for name, client_id in named if client_id]


def offered() -> list[str]:
    """The configured providers that worked when they were last asked. At most one query."""
    names = configured()
    if "oidc" in names and not IdentityProvider.objects.filter(pk="oidc", works=True).exists():
        names.remove("oidc")
    return names


def discovery() -> dict[str, Any]:
    """The provider's metadata, asked anew where what is kept is old.

    Raises OAuth2Error or requests.RequestException where there is none to be had.
    """
    kept = IdentityProvider.objects.filter(pk="oidc", issuer=env().oidc_issuer).first()
    if kept is not None and kept.works and kept.checked_at > timezone.now() - FRESH:
        return dict(kept.document)
    return refresh()


def last_known() -> dict[str, Any]:
    """What the provider said last, however long ago; empty where it never did. Asks nobody."""
    kept = IdentityProvider.objects.filter(pk="oidc", issuer=env().oidc_issuer).first()
    return dict(kept.document) if kept is not None else {}


def refresh() -> dict[str, Any]:
    """Ask the provider and write down what came of it; raises as `discovery`."""
    try:
        document = _fetch()
    except (requests.RequestException, OAuth2Error) as exc:
        reason = f"{type(exc).__name__}: {exc}"[:MAX_REASON_CHARS]
        _keep(works=False, reason=reason)
        raise
    _keep(works=True, reason="", document=document)
    return document


def keep_fresh() -> None:
    """For the background process: ask when it is time, and write down what came of it."""
    if "oidc" not in configured():
        return
    kept = IdentityProvider.objects.filter(pk="oidc", issuer=env().oidc_issuer).first()
    wait = FRESH if kept is not None and kept.works else RETRY
    if kept is None or kept.checked_at < timezone.now() - wait:
        try:
            refresh()
        except (requests.RequestException, OAuth2Error) as exc:
            log.warning("the OpenID Connect provider cannot be used: %s", exc)


def _fetch() -> dict[str, Any]:
    issuer = env().oidc_issuer
    with get_adapter().get_requests_session() as session:
        response = session.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        response.raise_for_status()
        document = response.json()
    if not isinstance(document, dict) or document.get("issuer") != issuer:
        raise OAuth2Error("discovery: the issuer is not LOCALAI_OIDC_ISSUER, to the letter")
    wanted = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")
    missing = [name for name in wanted if not isinstance(document.get(name), str)]
    if missing:
        raise OAuth2Error(f"discovery: {missing[0]} is missing")
    return document


def _keep(*, works: bool, reason: str, document: dict[str, Any] | None = None) -> None:
    """Write down how it went; without a new document the last one stays."""
    fields = {
        "issuer": env().oidc_issuer,
        "works": works,
        "reason": reason,
        "checked_at": timezone.now(),
    }
    if document is not None:
        fields["document"] = document
    try:
        IdentityProvider.objects.update_or_create(pk="oidc", defaults=fields)
    except DatabaseError as exc:
        log.warning("what the provider said could not be kept: %s", type(exc).__name__)
