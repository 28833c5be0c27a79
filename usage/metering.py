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
from usage.journal import RESPONSE, Journal, JournalError

log = logging.getLogger("gatehouse.journal")
PROGRESS_EVERY_S = 1.0
MAX_KNOWN = 10_000
_FAILED = b'"p":%d,"c":%d,"st":%d,"d":%d,'
_COUNTED = _FAILED + b'"n":true,'
Unrecorded = Literal["no_usage", "journal_full"]


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
        "_first_token_s",
        "_journal",
        "_names",
        "_next_progress",
        "_own",
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

    def __init__(
        self, journal: Journal | None, event_id: str, names: bytes, call: Call, own: bytes = b""
    ) -> None:
        self._journal = journal
        self.id = event_id
        self._names = names  # who and what, as the journal takes them
        self._own = b'"id":"%b",%b' % (event_id.encode(), own)
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
            self._journal.open(self.id, b'{"k":"o",' + self._own, self._names)
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
        if now >= self._next_progress and self._journal is not None:
            self._next_progress = now + PROGRESS_EVERY_S
            try:
                counts = self._counts(200, counted=True)
                self._journal.note(self.id, b'{"k":"p",' + counts)
            except JournalError:
                log.warning("how far a request is could not be written down")

    def settle(self, status: int) -> None:
        """The last word: what was delivered is billed (S-18), what failed before is an error."""
        if self.settled:
            return
        self.settled = True
        counted = self.delivered or status < 400
        if not counted:
            self.prompt_tokens = self.completion_tokens = self.cached_tokens = 0
        if self._journal is not None:
            try:
                counts = self._counts(status, counted=counted)
                self._journal.end(self.id, b'{"k":"f",' + counts, self._names)
            except JournalError:  # what was opened has its room kept free, a refusal has not
                log.warning("the last record of a request could not be written")
        if self.reservation is not None:
            self.reservation.settle(
                counted=counted,
                prompt=self.prompt_tokens,
                cached=self.cached_tokens,
                completion=self.completion_tokens,
            )

    def _counts(self, status: int, *, counted: bool) -> bytes:
        """The record from its counts to its names. What is as usual (docs/journal.md) is left out."""
        call = self._call
        counts = (_COUNTED if counted else _FAILED) % (
            self.prompt_tokens,
            self.completion_tokens,
            status,
            (time.perf_counter() - call.started) * 1000,
        )
        if self.cached_tokens:
            counts += b'"cp":%d,' % self.cached_tokens
        if self.estimated:
            counts += b'"est":true,'
        if call.queue_s:
            counts += b'"q":%d,' % (call.queue_s * 1000)
        if self.streamed:
            counts += b'"sse":true,'
            if self._first_token_s is not None:
                counts += b'"tt":%d,' % (self._first_token_s * 1000)
        return counts + self._own


def _quoted(text: bytes) -> bytes:
    """A correlation id, printable ASCII, as JSON."""
    if b'"' in text or b"\\" in text:
        return orjson.dumps(text.decode("ascii"))
    return b'"%b"' % text


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
        self._known: dict[int, tuple[Principal, tuple[str, str, str], bytes]] = {}

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

        Raises JournalFullError where the journal cannot be written.
        """
        if not self._records:
            return Event(None, "", b"", call)
        event = self._event(call, endpoint, model, served_model, None)
        try:
            event.open()
        except JournalFullError:
            if not self._serve_when_full:
                raise
            self.unrecorded("journal_full")
            event.leave_unrecorded()
        return event

    def _event(
        self, call: Call, endpoint: str, model: str, served_model: str, unknown: str | None
    ) -> Event:
        principal = call.principal
        assert principal is not None  # noqa: S101  # the gate came first
        names = self._names_of(principal, model, served_model, endpoint)
        unknown_model = b'"um":%b,' % orjson.dumps(unknown) if unknown is not None else b""
        if call.is_named_by_caller:
            own = b'"cid":%b,%b' % (_quoted(call.correlation_id), unknown_model)
            return Event(self.journal, str(uuid_utils.uuid7()), names, call, own)
        # the id that the server gave the request is a UUIDv7 of now, and serves both
        return Event(self.journal, call.correlation_id.decode(), names, call, unknown_model)

    def _names_of(
        self, principal: Principal, model: str, served_model: str, endpoint: str
    ) -> bytes:
        """Who and what, as the end of a record; written once for a caller who asks the same again."""
        what = (model, served_model, endpoint)
        known = self._known.get(id(principal))
        if known is not None and known[0] is principal and known[1] == what:
            return known[2]
        fields = {
            "u": principal.user_id,
            "un": principal.name,
            "s": principal.source,
            "ki": principal.key_id,
            "kn": principal.key_name,
            "m": model,
            "sm": served_model,
            "e": endpoint,
        }
        names = orjson.dumps(fields)[1:]
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[id(principal)] = (
            principal,
            what,
            names,
        )  # which keeps it, and so its id, alive
        return names

    def refused(
        self, call: Call, *, status: int, model: str = "", unknown: str | None = None
    ) -> None:
        """A caller who is known was refused before anything was asked of an engine: an error in the books.

        One record, not two: nothing was under way. Where there is no room the refusal stands all the same.
        """
        if not self._records:
            return
        event = self._event(call, call.endpoint, model, "", unknown)
        event.settle(status)

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
