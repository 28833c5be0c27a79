"""What makes an OpenID Connect provider's word good: signature, issuer, audience, nonce, age, subject.

allauth trusts what comes from the token endpoint; each check here is a row of identity.md, section
3, that it lets through (OpenID Connect Core 3.1.3.7, 5.3.2; Discovery 4.3).
"""

import hmac
import time
from functools import cache
from typing import Any

import jwt
import requests
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.providers.github.views import GitHubOAuth2Adapter
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.http import HttpRequest

from accounts.runtime import env
from accounts.social import availability

SIGNING_ALGORITHMS = (
    *("RS256", "RS384", "RS512", "ES256", "ES384", "ES512"),
    *("PS256", "PS384", "PS512", "EdDSA"),
)
LEEWAY_S, MAX_AGE_S, KEYS_LIFESPAN_S, KEYS_COOLDOWN_S, TIMEOUT_S = 30, 600, 300, 5, 5


@cache
def _keys(uri: str) -> jwt.PyJWKClient:
    """The provider's key set: cached, asked again for an unknown key id, every 5 s at most."""
    return jwt.PyJWKClient(
        uri, lifespan=KEYS_LIFESPAN_S, timeout=TIMEOUT_S, cooldown_duration=KEYS_COOLDOWN_S
    )


def verified_claims(token: str, *, audience: str) -> dict[str, Any]:
    """The claims of a JWT that the configured issuer signed for `audience`. Raises OAuth2Error or
    requests.RequestException.
    """
    document = availability.discovery()
    try:
        key = _keys(document["jwks_uri"]).get_signing_key_from_jwt(token)
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=list(SIGNING_ALGORITHMS),
            issuer=env().oidc_issuer,
            audience=audience,
            leeway=LEEWAY_S,
            options={"require": ["iss", "sub", "aud", "exp", "iat"]},
        )
    except jwt.PyJWKClientConnectionError as exc:
        raise requests.ConnectionError(f"the provider's keys cannot be had: {exc}") from exc
    except (jwt.PyJWTError, KeyError, ValueError, TypeError) as exc:
        raise OAuth2Error(f"invalid token: {exc}") from exc
    return claims


class OIDCAdapter(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]  # the package has no types
    """allauth's adapter with the checks that it leaves out. `state` is what the start put aside."""

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request, "oidc")
        self.state: dict[str, Any] = {}

    @property
    def openid_config(self) -> dict[str, Any]:
        return availability.discovery()

    def get_callback_url(self, request: HttpRequest, app: Any) -> str:
        return f"{env().public_url}/api/auth/oidc/callback"

    def complete_login(self, request: HttpRequest, app: Any, token: Any, **kwargs: Any) -> Any:
        raw = kwargs["response"].get("id_token")
        if not isinstance(raw, str) or not raw:
            raise OAuth2Error("no id_token")
        claims = verified_claims(raw, audience=app.client_id)
        self._check(claims, app.client_id)
        userinfo = self._userinfo(token.token)
        if userinfo.get("sub") != claims["sub"]:
            raise OAuth2Error("userinfo is about somebody else")
        for data in (userinfo, claims):  # only a real JSON true proves an address (W-16)
            if "email_verified" in data:
                data["email_verified"] = data["email_verified"] is True
        login = self.get_provider().sociallogin_from_response(
            request, {"userinfo": userinfo, "id_token": claims}
        )
        login.raw_id_token = raw
        return login

    def _check(self, claims: dict[str, Any], client_id: str) -> None:
        nonce = self.state.get("nonce") or ""
        given = claims.get("nonce")
        if not nonce or not hmac.compare_digest(nonce.encode(), str(given or "").encode()):
            raise OAuth2Error("nonce mismatch")
        audience, authorised = claims["aud"], claims.get("azp")
        several = isinstance(audience, list) and len(audience) > 1
        if (authorised is not None or several) and authorised != client_id:
            raise OAuth2Error("azp mismatch")
        if claims["iat"] < time.time() - MAX_AGE_S:
            raise OAuth2Error("id_token too old")

    def _userinfo(self, access_token: str) -> dict[str, Any]:
        found = self._fetch_user_info(access_token)
        if not isinstance(found, dict):
            raise OAuth2Error("userinfo is no object")
        return found


class GitHubAdapter(GitHubOAuth2Adapter):  # type: ignore[misc]
    """GitHub, or whatever LOCALAI_GITHUB_URL names."""

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request)
        self.state: dict[str, Any] = {}
        web = env().github_url.rstrip("/")
        api = "https://api.github.com" if web == "https://github.com" else f"{web}/api/v3"
        self.access_token_url = f"{web}/login/oauth/access_token"
        self.authorize_url = f"{web}/login/oauth/authorize"
        self.profile_url, self.emails_url = f"{api}/user", f"{api}/user/emails"

    def get_callback_url(self, request: HttpRequest, app: Any) -> str:
        return f"{env().public_url}/api/auth/github/callback"


def adapter_for(request: HttpRequest, provider: str) -> OIDCAdapter | GitHubAdapter:
    """The adapter of `github` or `oidc`; one a request, as it keeps that request's state."""
    return OIDCAdapter(request) if provider == "oidc" else GitHubAdapter(request)


def provider_for(request: HttpRequest, provider: str) -> Any:
    """allauth's provider with our adapter. Raises SocialApp.DoesNotExist for one not configured."""
    found = get_adapter().get_provider(request, provider)
    found.get_oauth2_adapter = lambda asked: adapter_for(asked, provider)
    return found
