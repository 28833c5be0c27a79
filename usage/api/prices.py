"""Prices of models: `GET` and `POST /api/auth/admin/prices`, `DELETE …/:id`."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.answers import Message
from accounts.api.base import AccountView
from accounts.api.shapes import timestamp
from accounts.audit import actor_of
from accounts.runtime import env
from core.declared import declares
from core.drf import read_json, text
from core.errors import InvalidRequestError
from core.moments import in_utc
from usage import prices
from usage.api import shapes
from usage.models import Price
from usage.tariff import Rates


class PricesView(AccountView):
    """Every price, newest first; a new one for a model, from now or a later moment on."""

    @declares("Every price", answer=shapes.Prices)
    def get(self, _request: Request) -> Response:
        rows = Price.objects.order_by("-valid_from", "model")[: prices.MAX_ROWS]
        return Response({"prices": [shown(row) for row in rows], "currency": env().currency})

    @declares(
        "Set a price",
        body=shapes.NewPrice,
        body_example={"model": "smollm2-135m-instruct", "prompt": "0.15", "completion": "0.60"},
        answer=shapes.PriceSaved,
        status=201,
        errors=(409,),
    )
    def post(self, request: Request) -> Response:
        data = read_json(request._request)  # noqa: SLF001
        model = text(data, "model", limit=255)
        if not model:
            raise InvalidRequestError("model is required", param="model")
        rates = _rates(data)
        by = actor_of(request._request)  # noqa: SLF001
        price = prices.set_price(model, rates, _valid_from(data), by=by)
        return Response({"message": "price saved", "price": shown(price)}, status=201)


class PriceView(AccountView):
    """A price that is not in force yet can be taken back."""

    @declares("Take back a price that is not in force", answer=Message, errors=(404, 409))
    def delete(self, request: Request, price_id: UUID) -> Response:
        prices.withdraw(price_id, by=actor_of(request._request))  # noqa: SLF001
        return Response({"message": "price withdrawn"})


def _rates(data: dict[str, Any]) -> Rates:
    prompt = prices.nano(data.get("prompt"), "prompt", prices.PER_MILLION)
    cached = data.get("cached_prompt")
    return Rates(
        prompt=prompt,
        cached_prompt=prompt
        if cached is None
        else prices.nano(cached, "cached_prompt", prices.PER_MILLION),
        completion=prices.nano(data.get("completion"), "completion", prices.PER_MILLION),
        unit=prices.unit_nano(data.get("unit")),
    )


def _valid_from(data: dict[str, Any]) -> datetime | None:
    given = text(data, "valid_from", limit=64)
    if not given:
        return None
    try:
        moment = datetime.fromisoformat(given)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else in_utc(moment)
    except ValueError as exc:
        raise InvalidRequestError("valid_from must be RFC 3339", param="valid_from") from exc


def shown(row: Price) -> dict[str, Any]:
    """Prices as decimal texts: for a million tokens, and for one unit."""
    return {
        "id": str(row.pk),
        "model": row.model,
        "valid_from": timestamp(row.valid_from),
        "prompt": _decimal(row.prompt, prices.PER_MILLION),
        "cached_prompt": _decimal(row.cached_prompt, prices.PER_MILLION),
        "completion": _decimal(row.completion, prices.PER_MILLION),
        "unit": _decimal(row.unit, prices.PER_UNIT),
    }


def _decimal(nano: int, scale: Decimal) -> str:
    return f"{Decimal(nano) / scale:f}"
