"""An error as the body of the API family that was called.

`openai` is contract 4.5, `anthropic` and `responses` surface section 0, `flat` the account
endpoints (G-01), `settings` `/api/settings`. All but those two carry `reason`, the closed list of
`core.errors`.
"""

from typing import Any, Literal

import orjson

from core.errors import GatehouseError

Family = Literal["openai", "anthropic", "responses", "flat", "settings"]

_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_RESPONSES_TYPES = {
    400: "invalid_request",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found",
    413: "invalid_request",
    429: "too_many_requests",
}


def envelope(error: GatehouseError, family: Family) -> dict[str, Any]:
    """The JSON body of `error` for `family`; its extra top-level keys ride along."""
    status = error.http_status
    if family == "flat":
        return {"error": error.message, **error.extra}
    if family == "settings":
        return {"success": False, "error": error.message, **error.extra}
    if family == "anthropic":
        kind = _ANTHROPIC_TYPES.get(status, "api_error")
        inner = {"type": kind, "message": error.message, "reason": error.reason}
        return {"type": "error", "error": inner, **error.extra}
    if family == "responses":
        inner = {"type": _RESPONSES_TYPES.get(status, "server_error"), "message": error.message}
    else:
        code: int | str = "model_loading" if error.reason == "model_loading" else status
        inner = {"code": code, "message": error.message, "type": error.type}  # type: ignore[dict-item]
    inner["reason"] = error.reason
    if error.param is not None:
        inner["param"] = error.param
    return {"error": inner, **error.extra}


def refusal_family(family: Family, status: int) -> Family:
    """The envelope of what the gate refuses on a route of `family`: where that is flat, the nested one,
    but for a limit (contract, 4.5).
    """
    return "openai" if family in {"flat", "settings"} and status != 429 else family


def error_body(error: GatehouseError, family: Family, *, opaque: bool) -> bytes:
    """The body of `error` as bytes; none for what LOCALAI_OPAQUE_ERRORS hides (C-17)."""
    hidden = opaque and (error.http_status in {401, 403, 404} or error.http_status >= 500)
    return b"" if hidden else orjson.dumps(envelope(error, family))


def error_headers(error: GatehouseError) -> list[tuple[bytes, bytes]]:
    """The headers that belong to an error: a challenge with 401, a true `Retry-After`."""
    headers = list(error.headers)
    if error.http_status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, -(-error.retry_after_s // 1))))
    return headers


def stream_error(error: GatehouseError, family: Family) -> bytes:
    """The event that ends a stream in which `error` happened, with the family's end marker."""
    body = envelope(error, family)
    if family == "anthropic":
        return b"event: error\ndata: " + orjson.dumps(body) + b"\n\n"
    if family == "responses":
        event = {
            "type": "error",
            "code": error.reason,
            "message": error.message,
            "param": None,
            "error": body["error"],
        }
        return b"event: error\ndata: " + orjson.dumps(event) + b"\n\ndata: [DONE]\n\n"
    body["error"]["code"] = "server_error"
    return b"data: " + orjson.dumps(body) + b"\n\ndata: [DONE]\n\n"
