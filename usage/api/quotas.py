"""Quotas: E-07, E-25 to E-27."""

from typing import Any
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.answers import Message
from accounts.api.base import AccountView
from accounts.audit import actor_of
from accounts.models import User
from core.declared import declares
from core.drf import read_json, text
from core.durations import parse_duration
from core.errors import InvalidRequestError, NotFoundError
from usage.api import shapes
from usage.quotas import service
from usage.quotas.words import WINDOWS

INVALID = "invalid request body"
MAX_WINDOW_S = 366 * 86_400
MAX_COUNT = 2**53 - 1  # what a JSON number holds exactly everywhere
MAX_CONCURRENT = 100_000


class QuotaView(AccountView):
    """E-07: the caller's own."""

    @declares("One's own quotas", answer=shapes.Quotas)
    def get(self, request: Request) -> Response:
        return Response({"quotas": service.statuses_of(self.principal(request).user_id)})


class UserQuotasView(AccountView):
    """E-25 and E-26."""

    @declares("A person's quotas", answer=shapes.Quotas, errors=(404,))
    def get(self, _request: Request, user_id: UUID) -> Response:
        if not User.objects.filter(pk=user_id).exists():
            raise NotFoundError("user not found")
        return Response({"quotas": service.statuses_of(str(user_id))})

    @declares(
        "Set a quota",
        body=shapes.QuotaRuleGiven,
        body_example={"window": "1d", "max_total_tokens": 100_000},
        answer=shapes.QuotaSaved,
        errors=(404,),
    )
    def put(self, request: Request, user_id: UUID) -> Response:
        if not User.objects.filter(pk=user_id).exists():
            raise NotFoundError("user not found")
        data = read_json(request._request, invalid=INVALID)  # noqa: SLF001
        row = service.set_rule(
            user_id,
            key_id=_key_id(data),
            model=text(data, "model", limit=255, invalid=INVALID),
            window_s=_window_s(text(data, "window", limit=64, invalid=INVALID)),
            maxima=_maxima(data),
            by=actor_of(request._request),  # noqa: SLF001
        )
        shown = service.status(service.rule_of(row))
        return Response({"message": "quota rule saved", "quota": shown})


class UserQuotaView(AccountView):
    """E-27."""

    @declares("Take a quota away", answer=Message, errors=(404,))
    def delete(self, request: Request, user_id: UUID, quota_id: UUID) -> Response:
        service.delete_rule(user_id, quota_id, by=actor_of(request._request))  # noqa: SLF001
        return Response({"message": "quota rule deleted"})


def _key_id(data: dict[str, Any]) -> UUID | None:
    given = text(data, "api_key_id", limit=36, invalid=INVALID)
    try:
        return UUID(given) if given else None
    except ValueError as exc:
        raise InvalidRequestError(INVALID, param="api_key_id") from exc


def _window_s(given: str) -> int:
    """Whole seconds, between one and a year (W-12: no zero, no negative window)."""
    if not given:
        raise InvalidRequestError("window is required", param="window")
    if given in WINDOWS:
        return WINDOWS[given]
    try:
        seconds = parse_duration(given).total_seconds()
    except ValueError as exc:
        raise InvalidRequestError(f"invalid window duration: {given}", param="window") from exc
    if seconds != int(seconds) or not 1 <= seconds <= MAX_WINDOW_S:
        raise InvalidRequestError(f"invalid window duration: {given}", param="window")
    return int(seconds)


def _maxima(data: dict[str, Any]) -> dict[str, int | None]:
    """Null or missing: no limit; 0 blocks everything (S-16). Raises InvalidRequestError for the rest."""
    found: dict[str, int | None] = {}
    for name in service.MAXIMA:
        value = data.get(name)
        most = MAX_CONCURRENT if name == "max_concurrent" else MAX_COUNT
        if value is not None and (type(value) is not int or not 0 <= value <= most):
            raise InvalidRequestError(f"{name} must be a whole number from 0 on", param=name)
        found[name] = value
    return found
