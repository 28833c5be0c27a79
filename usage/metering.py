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
from usage.journal.lines import RESPONSE
from usage.journal.table import ESTIMATED, HAS_FIRST_TOKEN, STREAMED, progress
from usage.journal.writer import Journal, JournalError, Named

log = logging.getLogger("gatehouse.journal")
PROGRESS_EVERY_S = 1.0
MAX_KNOWN = 10_000
_FINAL = b'{"k":"f","p":%d,"c":%d,"st":%d,"d":%d,%b"id":"%b","w":%d}'
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
        "_more",
        "_named",
        "_next_progress",
        "_slot",
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
        self,
        call: Call,
        event_id: bytes = b"",
        journal: Journal | None = None,
        named: Named | None = None,
        more: bytes = b"",
    ) -> None:
        self._call = call
        self.id = event_id
        self._journal = journal  # None where nothing is written down
        self._named = named  # who and what
        self._more = more  # fields that the last record has besides
        self._slot = 0  # of the journal, once it is under way
        self._next_progress = call.started + PROGRESS_EVERY_S
        self._first_token_s: float | None = None
        self.prompt_tokens = self.cached_tokens = self.completion_tokens = 0
        self.delivered = self.estimated = self.streamed = self.settled = False
        self.reservation: Reservation | None = None

    def open(self) -> None:
        """Under way, and in the journal. Raises JournalFullError where that cannot be written."""
        if self._journal is None or self._named is None:
            return
        given = self._call.correlation_id if self._call.is_named_by_caller else b""
        try:
            self._slot = self._journal.open(self.id, self._named, given)
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
        if now >= self._next_progress and self._journal is not None and self._slot:
            self._next_progress = now + PROGRESS_EVERY_S
            self._journal.note(self._slot, self._progress(now))

    def _progress(self, now: float) -> bytes:
        flags = (STREAMED if self.streamed else 0) | (ESTIMATED if self.estimated else 0)
        first_s = self._first_token_s
        return progress(
            self.prompt_tokens,
            self.cached_tokens,
            self.completion_tokens,
            int((now - self._call.started) * 1000),
            int((first_s or 0) * 1000),
            int(self._call.queue_s * 1000),
            flags=flags | (HAS_FIRST_TOKEN if first_s is not None else 0),
        )

    def settle(self, status: int) -> None:
        """The last word: what was delivered is billed (S-18), what failed before is an error."""
        if self.settled:
            return
        self.settled = True
        counted = self.delivered or status < 400
        if not counted:
            self.prompt_tokens = self.completion_tokens = self.cached_tokens = 0
        if self._journal is not None and self._named is not None:
            self._write_end(self._journal, self._named, status, counted=counted)
        if self.reservation is not None:
            self.reservation.settle(
                counted=counted,
                prompt=self.prompt_tokens,
                cached=self.cached_tokens,
                completion=self.completion_tokens,
            )

    def _write_end(self, journal: Journal, named: Named, status: int, *, counted: bool) -> None:
        """The record of the whole. What is as usual (docs/journal.md) is left out."""
        call = self._call
        more = self._more
        if counted:
            more += b'"n":true,'
        if self.cached_tokens:
            more += b'"cp":%d,' % self.cached_tokens
        if self.estimated:
            more += b'"est":true,'
        if call.queue_s:
            more += b'"q":%d,' % (call.queue_s * 1000)
        if self.streamed:
            more += b'"sse":true,'
            if self._first_token_s is not None:
                more += b'"tt":%d,' % (self._first_token_s * 1000)
        body = _FINAL % (
            self.prompt_tokens,
            self.completion_tokens,
            status,
            (time.perf_counter() - call.started) * 1000,
            more,
            self.id,
            named.number,
        )
        try:
            if self._slot:
                journal.end(self._slot, body)
            else:
                journal.add(body, named)
        except JournalError:  # what was opened has its room kept free, a refusal has not
            log.warning("the last record of a request could not be written")


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
        self._known: dict[int, tuple[Principal, tuple[str, str, str], Named]] = {}

    def admit(self, call: Call, *, endpoint: str, model: str, served_model: str) -> Event:
        """An open event for `call`, durable before anything is forwarded.

        Raises JournalFullError where the journal cannot be written.
        """
        if not self._records:
            return Event(call)
        event = self._event(call, endpoint, model, served_model)
        try:
            event.open()
        except JournalFullError:
            if not self._serve_when_full:
                raise
            self.unrecorded("journal_full")
            event.leave_unrecorded()
        return event

    def _event(
        self, call: Call, endpoint: str, model: str, served_model: str, more: bytes = b""
    ) -> Event:
        principal = call.principal
        assert principal is not None  # noqa: S101  # the gate came first
        what = (model, served_model, endpoint)
        known = self._known.get(id(principal))
        if known is not None and known[0] is principal and known[1] == what:
            named = known[2]
        else:
            named = self._named(principal, what)
        event_id = call.correlation_id
        if call.is_named_by_caller:
            more += b'"cid":%b,' % _quoted(event_id)
            event_id = str(uuid_utils.uuid7()).encode()
        # else the id that the server gave the request is a UUIDv7 of now, and serves both
        return Event(call, event_id, self.journal, named, more)

    def _named(self, principal: Principal, what: tuple[str, str, str]) -> Named:
        """Who and what, as the journal takes it; kept for a caller who asks the same again."""
        model, served_model, endpoint = what
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
        named = self.journal.named(orjson.dumps(fields)[1:])
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        # which keeps the principal, and so its id, alive
        self._known[id(principal)] = (principal, what, named)
        return named

    def refused(
        self, call: Call, *, status: int, model: str = "", unknown: str | None = None
    ) -> None:
        """A caller who is known was refused before anything was asked of an engine: an error in the books.

        One record, not two: nothing was under way. Where there is no room the refusal stands all the same.
        """
        if not self._records:
            return
        more = b'"um":%b,' % orjson.dumps(unknown) if unknown is not None else b""
        self._event(call, call.endpoint, model, "", more).settle(status)

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
