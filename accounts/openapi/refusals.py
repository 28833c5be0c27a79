"""The errors of an operation, from the gate's table, the limits and the envelopes alone (R-18).

Nobody writes them at a view, but for those that its own work gives besides.
"""

from collections.abc import Iterable
from typing import Any, Literal, NotRequired

from drf_spectacular.plumbing import ComponentRegistry, ResolvedComponent
from typing_extensions import TypedDict

from accounts.gate import Requirement, is_there
from accounts.limits import OTHER_LIMITED, SIGN_IN_ROUTES
from accounts.openapi.shapes import Schema, schema_of
from core.declared import JSON
from core.envelopes import Family, envelope
from core.errors import (
    ConflictError,
    EngineFailedError,
    EngineTimeoutError,
    ForbiddenError,
    GatehouseError,
    InvalidRequestError,
    NotFoundError,
    NotSupportedError,
    RateLimitedError,
    Reason,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
)


class ErrorDetail(TypedDict):
    """What went wrong: `reason` is from a closed list, `param` the field at fault."""

    code: int | str
    message: str
    type: str
    reason: Reason
    param: NotRequired[str]


class Error(TypedDict):
    """The envelope of OpenAI's API."""

    error: ErrorDetail


class AnthropicErrorDetail(TypedDict):
    type: str
    message: str
    reason: Reason


class AnthropicError(TypedDict):
    """The envelope of Anthropic's API."""

    type: Literal["error"]
    error: AnthropicErrorDetail


class ResponsesErrorDetail(TypedDict):
    type: str
    message: str
    reason: Reason
    param: NotRequired[str]


class ResponsesError(TypedDict):
    """The envelope of the Responses API."""

    error: ResponsesErrorDetail


class FlatError(TypedDict):
    """The envelope of the account and management endpoints."""

    error: str


class SettingsError(TypedDict):
    """The envelope of `/api/settings`."""

    success: Literal[False]
    error: str


_SHAPES: dict[Family, Any] = {
    "openai": Error,
    "anthropic": AnthropicError,
    "responses": ResponsesError,
    "flat": FlatError,
    "settings": SettingsError,
}
_STATUSES: dict[int, tuple[str, str, type[GatehouseError]]] = {
    400: ("BadRequest", "The request is not valid.", InvalidRequestError),
    401: ("Unauthenticated", "No usable credential.", UnauthenticatedError),
    403: ("Forbidden", "The caller may not do this.", ForbiddenError),
    404: ("NotFound", "There is no such thing, or not for this caller.", NotFoundError),
    409: ("Conflict", "It does not go with how things are now.", ConflictError),
    413: ("TooLarge", "The body is larger than this server takes.", TooLargeError),
    426: ("UpgradeRequired", "This address is a WebSocket.", InvalidRequestError),
    429: ("TooMany", "A limit or a quota is used up.", RateLimitedError),
    500: ("Fault", "A fault of the server; never what bad input gets.", UnavailableError),
    501: ("NotBuilt", "This server does not do that.", NotSupportedError),
    502: ("EngineFailed", "The engine, or another server, failed.", EngineFailedError),
    503: ("Unavailable", "Not now: loading, full, or the database is busy.", UnavailableError),
    504: ("EngineTimeout", "The engine did not answer in time.", EngineTimeoutError),
}
_OWN_ALONE = {409, 426, 429, 501, 502, 504}  # no front and no gate refuses with these
_HEADERS = {
    401: ("WWW-Authenticate", {"schema": {"type": "string"}}),
    429: ("Retry-After", {"schema": {"type": "integer", "minimum": 1}}),
    503: ("Retry-After", {"schema": {"type": "integer", "minimum": 1}}),
}
_WITHOUT_403 = {"public", "duty:user"}


def statuses_of(name: str, method: str, requirement: Requirement, own: Iterable[int]) -> list[int]:
    """Every error status that a route can answer with; `own` are those its view declares."""
    found = {400, 500, 503, *own}
    if requirement != "public":
        found.add(401)
    if method != "GET":
        found |= {403, 413}  # a foreign origin; a body without end
    if requirement not in _WITHOUT_403:
        found.add(403)
    if not is_there(name, accounts=False, legacy_keys=False, runtime_settings=False):
        found.add(404)  # in the modes of the server that have no such route
    if name in SIGN_IN_ROUTES or name in OTHER_LIMITED:
        found.add(429)
    if requirement.startswith("feature:"):
        found |= {404, 429, 502, 504}  # its model, its quota, its engine
    return sorted(found)


def response_of(status: int, family: Family, registry: ComponentRegistry) -> Schema:
    """A reference to the response of `status` in the family's envelope."""
    words, description, error = _STATUSES[status]
    families: list[Family] = [family]
    if family != "openai" and status not in _OWN_ALONE:
        families.append("openai")  # the front and the gate refuse in this one (contract, 4.5)
    name = words if family == "openai" else words + family.capitalize()
    component = ResolvedComponent(name, ResolvedComponent.RESPONSE, {}, name)
    if component not in registry:
        schemas = [schema_of(_SHAPES[each], registry) for each in families]
        example = envelope(error(status=status), family)
        schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        body = {"schema": schema, "examples": {family: {"value": example}}}
        component.schema = {"description": description, "content": {JSON: body}}
        if status in _HEADERS:
            header, shape = _HEADERS[status]
            component.schema["headers"] = {header: shape}
        registry.register(component)
    return component.ref
