"""Every refusal and fault that a caller can see, as one tree.

    GatehouseError
    ├── InvalidRequestError      400  invalid_request
    │   ├── NotSupportedError    400  not_supported   (501 where a whole route is meant)
    │   └── TooLargeError        413  too_large
    ├── UnauthenticatedError     401  unauthenticated
    ├── ForbiddenError           403  forbidden
    │   ├── ModelNotAllowedError 403  model_not_allowed
    │   └── ModelDisabledError   403  model_disabled
    ├── NotFoundError            404  invalid_request (a route or an object)
    │   └── ModelNotFoundError   404  model_not_found
    ├── ConflictError            409  conflict
    ├── RateLimitedError         429  rate_limited
    ├── QuotaExceededError       429  quota_exceeded
    ├── ModelLoadingError        503  model_loading
    ├── QueueFullError           503  queue_full
    ├── UnavailableError         503  unavailable
    ├── EngineFailedError        502  engine_failed
    │   └── EngineUnreadableError
    └── EngineTimeoutError       504  engine_timeout

A class fixes status, reason and type (contract, sections 4.5 and 0 of the surface); an instance
carries the message. `core.envelopes` turns one into the body of the API family that was called.
"""

from typing import Any, ClassVar, Literal, get_args

Reason = Literal[
    "invalid_request",
    "unauthenticated",
    "forbidden",
    "feature_disabled",
    "model_not_allowed",
    "model_disabled",
    "model_not_found",
    "model_loading",
    "not_supported",
    "too_large",
    "conflict",
    "rate_limited",
    "quota_exceeded",
    "queue_full",
    "engine_failed",
    "engine_timeout",
    "unavailable",
]
REASONS: tuple[str, ...] = get_args(Reason)


class GatehouseError(Exception):
    """Base of all errors that reach a caller.

    `retry_after_s` becomes the `Retry-After` header; `param` names the field at fault; `extra`
    holds further top-level keys of the body (the `loading` object, for one).
    """

    status: ClassVar[int] = 500
    reason: Reason = "unavailable"
    type: ClassVar[str] = "server_error"
    message: str = "The server could not answer this request."

    def __init__(
        self,
        message: str = "",
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        extra: dict[str, Any] | None = None,
        reason: Reason | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message or self.message)
        self.message = message or self.message
        self.param = param
        self.retry_after_s = retry_after_s
        self.extra = extra or {}
        self.reason = reason or self.reason
        self.http_status = status or self.status
        self.headers: list[tuple[bytes, bytes]] = []  # of the answer, besides those of every error


class InvalidRequestError(GatehouseError):
    status = 400
    reason: Reason = "invalid_request"
    type = "invalid_request_error"
    message = "Bad Request"


class NotSupportedError(InvalidRequestError):
    reason: Reason = "not_supported"


class TooLargeError(InvalidRequestError):
    status = 413
    reason: Reason = "too_large"


class UnauthenticatedError(GatehouseError):
    """No usable credential; one text for all causes, so that it tells a guesser nothing."""

    status = 401
    reason: Reason = "unauthenticated"
    type = "invalid_request_error"
    message = "An authentication key is required"


class ForbiddenError(GatehouseError):
    status = 403
    reason: Reason = "forbidden"
    type = "authorization_error"
    message = "Admin access required"


class ModelNotAllowedError(ForbiddenError):
    reason: Reason = "model_not_allowed"


class ModelDisabledError(ForbiddenError):
    """An admin has switched the model off (surface, section 0)."""

    reason: Reason = "model_disabled"
    type = "model_disabled"


class NotFoundError(GatehouseError):
    status = 404
    reason: Reason = "invalid_request"
    type = ""
    message = "Resource not found"


class MethodNotAllowedError(GatehouseError):
    status = 405
    reason: Reason = "invalid_request"
    type = ""
    message = "code=405, message=Method Not Allowed"


class ModelNotFoundError(NotFoundError):
    reason: Reason = "model_not_found"
    type = "invalid_request_error"


class ConflictError(GatehouseError):
    status = 409
    reason: Reason = "conflict"
    type = "invalid_request_error"


class RateLimitedError(GatehouseError):
    status = 429
    reason: Reason = "rate_limited"
    type = "rate_limit_error"
    message = "too many requests, please try again later"


class QuotaExceededError(GatehouseError):
    """A quota rule leaves nothing; the body says which, and when it opens again."""

    status = 429
    reason: Reason = "quota_exceeded"
    type = "quota_exceeded"


class ModelLoadingError(GatehouseError):
    status = 503
    reason: Reason = "model_loading"
    type = "server_error"


class QueueFullError(GatehouseError):
    status = 503
    reason: Reason = "queue_full"
    type = "server_error"
    message = "Too many requests are waiting for this model."


class UnavailableError(GatehouseError):
    status = 503
    reason: Reason = "unavailable"
    type = "server_error"


class EngineFailedError(GatehouseError):
    status = 502
    reason: Reason = "engine_failed"
    type = "server_error"
    message = "The engine failed while working on this request."


class EngineUnreadableError(EngineFailedError):
    """It answered with something that is no answer."""

    message = "The engine's answer could not be read."


class EngineTimeoutError(GatehouseError):
    status = 504
    reason: Reason = "engine_timeout"
    type = "server_error"
    message = "The engine did not answer in time."


class EngineRefusedError(InvalidRequestError):
    """The engine's own 4xx, passed on with its status and message (S-03)."""
