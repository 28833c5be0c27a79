"""The meter: opens an event when a caller is admitted and settles it, however the request ends.

Plain and synchronous, so that a cancelled task cannot lose it: each call is one `write`.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, Literal, Protocol

import orjson
import uuid_utils

from core.call import Call
from core.errors import UnavailableError
from core.principal import Principal
from usage.journal import FINAL, OPEN, PROGRESS, RESPONSE, Journal, JournalError

log = logging.getLogger("gatehouse.journal")
PROGRESS_EVERY_S = 1.0
Unrecorded = Literal["no_usage", "journal_full"]
_TRUTH = (b"false", b"true")


class JournalFullError(UnavailableError):
    """The journal cannot be written: what is asked for now is refused before it is worked on (S-53)."""


class Reservation(Protocol):
    """What quotas hold for an event; given back with what was really used."""

    def is_used_up(self, prompt: int, cached: int, completion: int) -> bool: ...

    def settle(self, *, counted: bool, prompt: int, cached: int, completion: int) -> None: ...


class Event:
    """One request in the books, from admission to settlement.

    `tokens` takes the engine's running counts; `settle` writes the last word and does nothing the
    second time. `reservation` is settled with it.
    """

    __slots__ = (
        "_call",
        "_common",
        "_first_token_s",
        "_journal",
        "_next_progress",
        "cached_tokens",
        "completion_tokens",
        "delivered",
        "estimated",
        "id",
        "prompt_tokens",
        "reservation",
        "settled",
        "streamed",
    )

    def __init__(self, journal: Journal | None, fields: dict[str, Any], call: Call) -> None:
        self._journal = journal
        self.id: str = fields["id"]
        self._common = orjson.dumps(fields)[1:] if journal is not None else b""
        self._call = call
        self._next_progress = call.started + PROGRESS_EVERY_S
        self._first_token_s: float | None = None
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.completion_tokens = 0
        self.delivered = False
        self.estimated = False
        self.streamed = False
        self.settled = False
        self.reservation: Reservation | None = None

    def open(self) -> None:
        """Write the `open` record. Raises JournalFullError where the journal cannot be written."""
        if self._journal is None:
            return
        try:
            self._journal.write_json(OPEN, self.id, b'{"k":"o",' + self._common)
        except JournalError as exc:
            raise JournalFullError(
                "Usage cannot be recorded at the moment.", retry_after_s=10
            ) from exc

    def leave_unrecorded(self) -> None:
        """Write nothing more: the operator serves rather than refuses where the journal is full."""
        self._journal = None

    def deliver(self) -> None:
        """Output goes to the caller from here on: it is billed, whatever happens (S-18)."""
        if not self.delivered:
            self.delivered = True
            self._first_token_s = time.perf_counter() - self._call.started

    def tokens(self, prompt: int, completion: int, cached: int = 0) -> None:
        """The engine's counts so far; once a second they go into the journal too."""
        self.prompt_tokens = prompt
        self.completion_tokens = completion
        self.cached_tokens = cached
        now = time.perf_counter()
        if now >= self._next_progress:
            self._next_progress = now + PROGRESS_EVERY_S
            self._write(PROGRESS, 200, counted=True)

    def settle(self, status: int) -> None:
        """The last word: what was delivered is billed (S-18), what failed before is an error."""
        if self.settled:
            return
        self.settled = True
        counted = self.delivered or status < 400
        if not counted:
            self.prompt_tokens = self.completion_tokens = self.cached_tokens = 0
        self._write(FINAL, status, counted=counted)
        if self.reservation is not None:
            self.reservation.settle(
                counted=counted,
                prompt=self.prompt_tokens,
                cached=self.cached_tokens,
                completion=self.completion_tokens,
            )

    def _write(self, kind: str, status: int, *, counted: bool) -> None:
        if self._journal is None:
            return
        call = self._call
        own = b'{"k":"%b","p":%d,"c":%d,"cp":%d,"st":%d,"n":%b,"est":%b,"d":%d,"q":%d,' % (
            kind.encode(),
            self.prompt_tokens,
            self.completion_tokens,
            self.cached_tokens,
            status,
            _TRUTH[counted],
            _TRUTH[self.estimated],
            (time.perf_counter() - call.started) * 1000,
            call.queue_s * 1000,
        )
        if self.streamed:
            own += b'"sse":true,'
            if self._first_token_s is not None:
                own += b'"tt":%d,' % (self._first_token_s * 1000)
        try:
            self._journal.write_json(kind, self.id, own + self._common)
        except JournalError:
            # A final record has its room kept free (usage.journal); progress is for a kill only.
            log.warning("a %s record of the journal could not be written", kind)


class Meter:
    """Makes the events of one worker. Without `records` nothing is written (LOCALAI_DISABLE_STATS);
    with `serve_when_full` what the journal has no room for is served all the same (S-53).
    """

    def __init__(
        self,
        journal: Journal,
        *,
        records: bool = True,
        serve_when_full: bool = False,
        unrecorded: Callable[[Unrecorded], None] = lambda _reason: None,
    ) -> None:
        self.journal = journal
        self.unrecorded = unrecorded  # told of each answer whose usage is not in the books
        self._records = records
        self._serve_when_full = serve_when_full

    def admit(
        self,
        call: Call,
        *,
        endpoint: str,
        model: str,
        served_model: str,
        unknown: str | None = None,
    ) -> Event:
        """An open event for `call`, durable before anything is forwarded.

        `unknown` is what was asked for where it is no model. Raises JournalFullError where the journal
        cannot be written.
        """
        principal = call.principal
        assert principal is not None  # noqa: S101  # the gate came first
        if not self._records:
            return Event(None, {"id": ""}, call)
        fields = self._fields(call, principal, endpoint, model, served_model)
        if unknown is not None:
            fields["um"] = unknown
        event = Event(self.journal, fields, call)
        try:
            event.open()
        except JournalFullError:
            if not self._serve_when_full:
                raise
            self.unrecorded("journal_full")
            event.leave_unrecorded()
        return event

    @staticmethod
    def _fields(
        call: Call, principal: Principal, endpoint: str, model: str, served_model: str
    ) -> dict[str, Any]:
        return {
            "id": str(uuid_utils.uuid7()),
            "u": principal.user_id,
            "un": principal.name,
            "s": principal.source,
            "ki": principal.key_id,
            "kn": principal.key_name,
            "m": model,
            "sm": served_model,
            "e": endpoint,
            "cid": call.correlation_id.decode("ascii"),
        }

    def refused(
        self, call: Call, *, endpoint: str, status: int, unknown: str | None = None
    ) -> None:
        """A caller who is known was refused before any model was looked at: an error in the books."""
        try:
            self.admit(call, endpoint=endpoint, model="", served_model="", unknown=unknown).settle(
                status
            )
        except JournalFullError:
            return  # the refusal stands, whether or not there is room to write it down

    def keep_response(
        self, *, response_id: str, user_id: str, body: dict[str, Any], limit: int
    ) -> None:
        """Send a stored response to the database by way of the journal; none over `limit` bytes."""
        raw = orjson.dumps(body)
        if len(raw) > limit:
            return
        record = {"k": RESPONSE, "id": response_id, "u": user_id, "t": time.time()}
        try:
            self.journal.write({**record, "body": orjson.Fragment(raw)})
        except JournalError as exc:
            raise UnavailableError("The response cannot be stored.", retry_after_s=10) from exc
