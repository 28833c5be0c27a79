"""OIDC access tokens as Bearer credentials (S-27): signed JWTs for our audience, of people known here.

mozilla-django-oidc's backend is the adapter, for DRF views as for our resolver. As shipped it asks
userinfo and matches by address; here the token itself is checked and its subject has to be linked.
"""

import time
from typing import Any

import jwt
import requests
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from django.core.exceptions import SuspiciousOperation
from django.db.models import QuerySet
from mozilla_django_oidc.auth import OIDCAuthenticationBackend

from accounts.models import Status, User
from accounts.runtime import env
from accounts.social.oidc import verified_claims
from core.errors import UnavailableError

MAX_LIFE_S = 24 * 3600


class BearerBackend(OIDCAuthenticationBackend):  # type: ignore[misc]  # the package has no types
    """Token → claims → an account that is here and active. Never creates, never changes one."""

    def __init__(self) -> None:
        self.UserModel = User  # the parent's wants endpoints that discovery gives

    def authenticate(self, request: Any, **_kwargs: Any) -> None:
        """Never a way to sign in on a browser."""

    def get_userinfo(self, access_token: str, _id_token: Any, _payload: Any) -> dict[str, Any]:
        """The token's own claims. Raises SuspiciousOperation, UnavailableError."""
        try:
            header = jwt.get_unverified_header(access_token)
        except jwt.PyJWTError as exc:
            raise SuspiciousOperation("not a JWT") from exc
        kind = str(header.get("typ", "")).lower().removeprefix("application/")
        if kind not in env().oidc_jwt_types:
            raise SuspiciousOperation("not an access token")
        try:
            claims = verified_claims(access_token, audience=env().oidc_audience)
        except OAuth2Error as exc:
            raise SuspiciousOperation(str(exc)) from exc
        except requests.RequestException as exc:
            raise UnavailableError(
                "The identity provider cannot be reached.", retry_after_s=10
            ) from exc
        if "nonce" in claims or "at_hash" in claims:  # an id token in another's clothes
            raise SuspiciousOperation("an id token")
        return claims

    def verify_claims(self, claims: dict[str, Any]) -> bool:
        return isinstance(claims.get("sub"), str) and bool(claims["sub"])

    def filter_users_by_claims(self, claims: dict[str, Any]) -> QuerySet[User]:
        linked = SocialAccount.objects.filter(provider="oidc", uid=claims["sub"]).values("user_id")
        return User.objects.filter(pk__in=linked, status=Status.ACTIVE)

    def update_user(self, user: User, claims: dict[str, Any]) -> User:
        """As it is; how long the token is good rides along."""
        user.token_expires_at = float(claims["exp"])  # type: ignore[attr-defined]
        return user


def user_of_token(token: str) -> tuple[User, float] | None:
    """The account of an access token, and until when it is good (seconds since the epoch).

    Raises UnavailableError where the provider's keys cannot be had.
    """
    try:
        user = BearerBackend().get_or_create_user(token, None, None)
    except SuspiciousOperation:
        return None
    if user is None:
        return None
    return user, min(user.token_expires_at, time.time() + MAX_LIFE_S)
