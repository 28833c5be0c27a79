"""Signing out at the provider, too (OpenID Connect RP-Initiated Logout 1.0)."""

from urllib.parse import urlencode

from django.http import HttpRequest

from accounts.runtime import env
from accounts.social.availability import last_known

SESSION_ID_TOKEN = "oidc_id_token"  # noqa: S105  # the name of a place, no token


def end_session_url(request: HttpRequest) -> str:
    """Where to sign out at the provider this session came from, or nothing (S-43)."""
    raw = request.session.get(SESSION_ID_TOKEN)
    if not raw or not env().oidc_client_id:
        return ""
    endpoint = last_known().get("end_session_endpoint")
    if not isinstance(endpoint, str):
        return ""
    query = {
        "client_id": env().oidc_client_id,
        "id_token_hint": raw,
        "post_logout_redirect_uri": f"{env().public_url}/login",
    }
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"
