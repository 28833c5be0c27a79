"""The caller's API keys: E-11 to E-13."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone
from django.utils.dateparse import parse_datetime
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import api_keys
from accounts.api import answers, bodies
from accounts.api.base import AccountView
from accounts.api.shapes import listed_key
from accounts.audit import Actor, actor_of
from accounts.models import ApiKey, User
from accounts.runtime import default_key_lifetime
from core.declared import declares
from core.drf import read_json, required_name, text
from core.durations import parse_duration
from core.errors import ConflictError, InvalidRequestError, NotFoundError
from core.moments import in_utc

MAX_KEYS = 100
FAR = timedelta(days=36500)


def expiry(data: dict[str, Any], *, now: datetime) -> datetime | None:
    """When the key ends: `expiresAt` before `expiresIn` before the server's default (S-05)."""
    if data.get("expiresAt") is not None:
        return _moment(text(data, "expiresAt"), now=now)
    if data.get("expiresIn") is not None:
        try:
            return now + parse_duration(text(data, "expiresIn"))
        except ValueError as exc:
            raise InvalidRequestError("invalid expiresIn format", param="expiresIn") from exc
    lifetime = default_key_lifetime()
    return now + lifetime if lifetime is not None else None


def _moment(given: str, *, now: datetime) -> datetime:
    message = "invalid expiresAt format, use RFC3339"
    try:
        moment = parse_datetime(given)
        if moment is None or moment.tzinfo is None:
            raise InvalidRequestError(message, param="expiresAt")
        moment = in_utc(moment)
    except ValueError as exc:
        raise InvalidRequestError(message, param="expiresAt") from exc
    if not now < moment < now + FAR:
        raise InvalidRequestError("expiresAt must be in the future", param="expiresAt")
    return moment


def create_key(user_id: str, data: dict[str, Any], *, by: Actor) -> tuple[ApiKey, str]:
    """A key for `user_id` as the body of E-11 asks for it."""
    now = timezone.now()
    name = required_name(text(data, "name", invalid="name is required"))
    expires_at = expiry(data, now=now)
    user = User.objects.get(pk=user_id)
    if user.api_keys.count() >= MAX_KEYS:
        raise ConflictError(f"An account holds at most {MAX_KEYS} keys; revoke one first.")
    return api_keys.create(user, name=name, expires_at=expires_at, by=by)


class ApiKeysView(AccountView):
    """E-11 and E-12."""

    @declares("One's API keys", answer=answers.ListedKeys)
    def get(self, request: Request) -> Response:
        keys = ApiKey.objects.filter(user_id=self.principal(request).user_id)
        return Response({"keys": [listed_key(key) for key in keys.order_by("-created_at")]})

    @declares(
        "Make an API key",
        body=bodies.NewKey,
        body_example={"name": "laptop", "expiresIn": "90d"},
        answer=answers.MadeKey,
        status=201,
        errors=(409,),
    )
    def post(self, request: Request) -> Response:
        data = read_json(request._request, invalid="name is required")  # noqa: SLF001
        by = actor_of(request._request)  # noqa: SLF001
        key, secret = create_key(self.principal(request).user_id, data, by=by)
        body = {"key": secret, **listed_key(key)}
        del body["lastUsed"]
        return Response(body, status=201)


class ApiKeyView(AccountView):
    """E-13."""

    @declares("Revoke an API key", answer=answers.Message, errors=(404,))
    def delete(self, request: Request, key_id: UUID) -> Response:
        by = actor_of(request._request)  # noqa: SLF001
        if not api_keys.revoke(key_id, owner_id=self.principal(request).user_id, by=by):
            raise NotFoundError("API key not found")
        return Response({"message": "API key revoked"})
