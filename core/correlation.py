"""The correlation id of the request that is under way, for whoever writes a log line meanwhile."""

from contextvars import ContextVar

# Set by both doors (surface, section 0); empty where no request is under way.
current: ContextVar[bytes] = ContextVar("correlation_id", default=b"")
