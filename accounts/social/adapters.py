"""allauth's hooks: applications from the settings, errors to the sign-in page, decisions to `views`."""

from typing import Any

import requests
from allauth.account.adapter import DefaultAccountAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialApp, SocialLogin
from allauth.socialaccount.providers.base.constants import AuthError
from django.http import HttpRequest

from accounts.runtime import env
from accounts.social.identity import SignInRefusedError


class CheckedLogin(Exception):  # noqa: N818  # not an error: it ends allauth's part of the flow
    """The handshake is done and `login` is what it gave; what it means is decided elsewhere."""

    def __init__(self, login: SocialLogin) -> None:
        super().__init__("checked")
        self.login = login


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # the package has no types
    """Accounts are ours: allauth makes none and says nothing."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def add_message(self, *_args: Any, **_kwargs: Any) -> None:
        return


class SocialAccountAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """One application a provider, from the environment: no rows, no query."""

    def list_apps(
        self, request: HttpRequest, provider: str | None = None, client_id: str | None = None
    ) -> list[SocialApp]:
        return [app for app in _apps() if provider in {None, app.provider, app.provider_id}]

    def get_requests_session(self) -> requests.Session:
        """Bounded in time, and no redirects: a provider's endpoints are where it says they are."""
        session: requests.Session = super().get_requests_session()
        session.max_redirects = 0
        return session

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: Any = None,
        exception: Exception | None = None,
        extra_context: dict[str, Any] | None = None,
    ) -> None:
        if error == AuthError.CANCELLED:
            raise SignInRefusedError("access_denied")
        if exception is None and not (extra_context or {}).get("state"):
            raise SignInRefusedError("invalid_state")
        unreachable = isinstance(exception, requests.ConnectionError | requests.Timeout)
        code = "provider_unavailable" if unreachable else "provider_error"
        raise SignInRefusedError(code, f"{type(exception).__name__}: {exception}"[:300])  # type: ignore[arg-type]

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        raise CheckedLogin(sociallogin)


def _apps() -> list[SocialApp]:
    apps = []
    if env().github_client_id:
        apps.append(
            SocialApp(
                provider="github",
                name="GitHub",
                client_id=env().github_client_id,
                secret=env().github_client_secret,
                settings={"oauth_pkce_enabled": True, "scope": ["read:user", "user:email"]},
            )
        )
    if env().oidc_client_id:
        settings = {
            "server_url": env().oidc_issuer,
            "oauth_pkce_enabled": True,
            "scope": ["openid", "profile", "email"],
            "uid_field": "sub",
        }
        if env().oidc_token_auth_method:
            settings["token_auth_method"] = env().oidc_token_auth_method
        apps.append(
            SocialApp(
                provider="openid_connect",
                provider_id="oidc",
                name=env().oidc_name,
                client_id=env().oidc_client_id,
                secret=env().oidc_client_secret,
                settings=settings,
            )
        )
    return apps
