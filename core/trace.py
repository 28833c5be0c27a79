"""What the inference path needs to know of traces: small interfaces, and None where they are off.

`inference.tracing` implements spans on OpenTelemetry; nothing else imports that. `usage.traces` has the
server's own traces.
"""

from collections.abc import Mapping
from typing import Protocol


class Counts(Protocol):
    """Where a trace reads the tokens from when it ends (`usage.metering.Event`)."""

    prompt_tokens: int
    completion_tokens: int


class Content(Protocol):
    """Takes the bodies of one request, where a setting has them kept (R-11)."""

    def take(self, piece: bytes) -> None:
        """A piece of the answer, as the caller gets it."""

    def line(self, event_id: bytes, headers: Mapping[bytes, bytes], user_id: str) -> bytes:
        """What is kept of both bodies and the request's headers, as a record of the journal."""


class Trace(Protocol):
    """The spans of one request."""

    def serves(self, model: str, counts: Counts) -> None:
        """The model is known and the request admitted."""

    def to_engine(self, endpoint: str, upstream: str, served_model: str) -> bytes:
        """The engine's part begins; the header lines that tell it of the trace."""

    def from_engine(self, status: int) -> None:
        """The engine's part ended; `status` is its answer's, or 0 without one."""

    def end(self, status: int, reason: str, *, complete: bool) -> None:
        """The request ended. `reason` is an error's (core.errors); not `complete`: the caller left."""


class Tracing(Protocol):
    """Starts traces; one per web worker."""

    def start(
        self, method: str, route: str, headers: Mapping[bytes, bytes], correlation_id: bytes
    ) -> Trace:
        """A trace of one request, continuing the caller's (`traceparent`) where there is one."""

    def close(self) -> None:
        """Send what is left, for a few seconds at most. Blocks: not for the loop's thread."""
