"""DRF's side of the house: reading a JSON body as the contract does (G-02), and saying errors."""

import logging
from typing import Any

import orjson
from django.core.exceptions import RequestDataTooBig
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from rest_framework.exceptions import APIException
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.response import Response

from core.envelopes import Family, envelope, error_body, error_headers
from core.errors import (
    GatehouseError,
    InvalidRequestError,
    MethodNotAllowedError,
    TooLargeError,
    UnavailableError,
)

log = logging.getLogger(__name__)
MAX_JSON_BODY = 1024 * 1024
MAX_NAME_CHARS = 100
DATABASE_BUSY = "The database is busy."


def read_body(
    request: HttpRequest, *, invalid: str = "invalid request", limit: int = MAX_JSON_BODY
) -> bytes:
    """The whole body. Raises TooLargeError past `limit` bytes; InvalidRequestError where it broke off."""
    try:
        body = request.body
    except RequestDataTooBig as exc:
        raise TooLargeError("The request body is too large.") from exc
    except UnreadablePostError as exc:
        raise InvalidRequestError(invalid) from exc
    if len(body) > limit:
        raise TooLargeError("The request body is too large.")
    return body


def read_json(
    request: HttpRequest, *, invalid: str = "invalid request", limit: int = MAX_JSON_BODY
) -> dict[str, Any]:
    """The body as an object; `{}` for an absent one (G-02). Unknown keys are the caller's business.

    Raises InvalidRequestError with the text `invalid` for anything that is not a JSON object.
    """
    body = read_body(request, invalid=invalid, limit=limit)
    if not body:
        return {}
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise InvalidRequestError(invalid)
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise InvalidRequestError(invalid) from exc
    if not isinstance(data, dict):
        raise InvalidRequestError(invalid)
    return data


def text(
    data: dict[str, Any], name: str, *, limit: int = 4096, invalid: str = "invalid request"
) -> str:
    """A string field, empty where it is missing or null; InvalidRequestError for anything else."""
    value = data.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > limit or "\0" in value:
        raise InvalidRequestError(invalid, param=name)
    return value


def required_name(given: str) -> str:
    """A name, trimmed. Raises InvalidRequestError where nothing is left or it is too long (W-20)."""
    name = given.strip()
    if not name:
        raise InvalidRequestError("name is required", param="name")
    if len(name) > MAX_NAME_CHARS:
        raise InvalidRequestError(f"name must be at most {MAX_NAME_CHARS} characters", param="name")
    return name


def flag(data: dict[str, Any], name: str, *, invalid: str = "invalid request") -> bool:
    """A boolean field, false where it is missing or null."""
    value = data.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise InvalidRequestError(invalid, param=name)
    return value


def as_gatehouse_error(exc: Exception) -> GatehouseError | None:
    """Foreign errors of the slow door as ours; None for what is a fault of the server."""
    if isinstance(exc, GatehouseError):
        return exc
    if isinstance(exc, OperationalError):
        return UnavailableError(DATABASE_BUSY, retry_after_s=5)
    if isinstance(exc, APIException):
        if exc.status_code == 405:
            return MethodNotAllowedError()
        return InvalidRequestError(str(exc.detail), status=exc.status_code)
    return None


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """One envelope per API family; None lets Django make its fixed 500."""
    error = as_gatehouse_error(exc)
    if error is None:
        return None
    family: Family = getattr(context.get("view"), "family", "openai")
    headers = {name.decode(): value.decode() for name, value in error_headers(error)}
    return Response(envelope(error, family), status=error.http_status, headers=headers)


def error_response(error: GatehouseError, family: Family, *, opaque: bool = False) -> HttpResponse:
    """The same outside a DRF view."""
    response = HttpResponse(
        error_body(error, family, opaque=opaque),
        status=error.http_status,
        content_type="application/json",
    )
    for name, value in error_headers(error):
        response[name.decode()] = value.decode()
    return response


class JSONAlways(DefaultContentNegotiation):
    """Answers are JSON whatever `Accept` says, as LocalAI's are; a strange one is no error."""

    def select_renderer(
        self, request: Any, renderers: Any, format_suffix: Any = None
    ) -> tuple[Any, str]:
        return renderers[0], renderers[0].media_type
