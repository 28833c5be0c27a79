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
from core.errors import GatehouseError, UnavailableError
from core.principal import Principal
from usage.journal.lines import RESPONSE
from usage.journal.table import ESTIMATED, HAS_FIRST_TOKEN, STREAMED, progress
from usage.journal.writer import Journal, JournalError, Named
from usage.traces import marks
from usage.traces.content import readable
from usage.traces.terms import TraceTerms

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
    second time. `reservation` is settled with it. With `terms` the last record has what a trace says
    of it (R-30). Moments (`…_at`) are those of `time.perf_counter`, 0 where it did not come so far.
    """

    __slots__ = (
        "_answer_bytes",
        "_call",
        "_journal",
        "_more",
        "_named",
        "_next_progress",
        "_slot",
        "_terms",
        "cached_tokens",
        "completion_tokens",
        "delivered",
        "engine_status",
        "estimated",
        "first_at",
        "head_at",
        "id",
        "prompt_tokens",
        "reservation",
        "sent_at",
        "settled",
        "streamed",
        "tokens_at",
    )

    def __init__(
        self,
        call: Call,
        event_id: bytes = b"",
        journal: Journal | None = None,
        named: Named | None = None,
        *,
        more: bytes = b"",
        terms: TraceTerms | None = None,
    ) -> None:
        self._call = call
        self.id = event_id
        self._terms = terms
        self._journal = journal  # None where nothing is written down
        self._named = named  # who and what
        self._more = more  # fields that the last record has besides
        self._slot = 0  # of the journal, once it is under way
        self._next_progress = call.started + PROGRESS_EVERY_S
        self.prompt_tokens = self.cached_tokens = self.completion_tokens = 0
        self.delivered = self.estimated = self.streamed = self.settled = False
        self.sent_at = self.head_at = self.first_at = self.tokens_at = 0.0
        self._answer_bytes = self.engine_status = 0
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

    def deliver(self, piece: bytes = b"") -> None:
        """Output goes to the caller from here on: it is billed, whatever happens (S-18)."""
        if self._terms is not None:
            self._answer_bytes += len(piece)
            if self._call.content is not None:
                self._call.content.take(piece)
        if not self.delivered:
            self.delivered = True
            self.first_at = time.perf_counter()

    def tokens(self, prompt: int, completion: int, cached: int = 0, piece: bytes = b"") -> None:
        """The engine's counts so far; once a second they go into the journal too. With them `piece` is
        delivered, if any.
        """
        self.prompt_tokens = prompt
        self.completion_tokens = completion
        self.cached_tokens = cached
        now = self.tokens_at = time.perf_counter()
        if piece:
            if self.delivered and self._call.content is None:  # as of most
                self._answer_bytes += len(piece)
            else:
                self.deliver(piece)
        if now >= self._next_progress and self._journal is not None and self._slot:
            self._next_progress = now + PROGRESS_EVERY_S
            self._journal.note(self._slot, self._progress(now))

    def _progress(self, now: float) -> bytes:
        flags = (STREAMED if self.streamed else 0) | (ESTIMATED if self.estimated else 0)
        first_s = self.first_at - self._call.started if self.first_at else None
        return progress(
            self.prompt_tokens,
            self.cached_tokens,
            self.completion_tokens,
            int((now - self._call.started) * 1000),
            int((first_s or 0) * 1000),
            int(self._call.queue_s * 1000),
            flags=flags | (HAS_FIRST_TOKEN if first_s is not None else 0),
        )

    def settle(
        self, status: int, *, answer: bytes = b"", error: GatehouseError | None = None
    ) -> None:
        """The last word: what was delivered is billed (S-18), what failed before is an error.

        `answer` is what is still to be sent of a good one, `error` what the caller is told of a bad one.
        """
        if self.settled:
            return
        self.settled = True
        counted = self.delivered or status < 400
        if not counted:
            self.prompt_tokens = self.completion_tokens = self.cached_tokens = 0
        if self._journal is not None and self._named is not None:
            if self._terms is not None:
                self._answer_bytes += len(answer)
                if error is not None:
                    self._more += marks.said(error, self._terms, self._call.headers)
                if self._call.content is not None:
                    self._keep_content(self._journal, answer)
            self._write_end(self._journal, self._named, status, counted=counted)
        if self.reservation is not None:
            self.reservation.settle(
                counted=counted,
                prompt=self.prompt_tokens,
                cached=self.cached_tokens,
                completion=self.completion_tokens,
            )

    def _keep_content(self, journal: Journal, answer: bytes) -> None:
        """The bodies as a record of their own: left out where the journal has little room."""
        call = self._call
        content, call.content = call.content, None
        assert content is not None  # noqa: S101  # looked at before
        content.take(answer)
        user_id = call.principal.user_id if call.principal is not None else ""
        try:
            journal.add_spare(content.line(self.id, call.headers, user_id))
        except JournalError:
            log.warning("the bodies of a trace were left out: the journal has little room")
        except Exception:
            log.exception("the bodies of a trace could not be kept")  # usage goes on

    def _write_end(self, journal: Journal, named: Named, status: int, *, counted: bool) -> None:
        """The record of the whole. What is as usual (docs/journal.md) is left out."""
        call, now = self._call, time.perf_counter()
        more = self._more
        if self._terms is not None:  # as it is: who reads it does the sums
            more += b'"tm":%b,' % orjson.dumps(
                (
                    call.started,
                    self.sent_at,
                    self.first_at or self.head_at,
                    self.tokens_at,
                    now,
                    call.queue_s,
                    call.body_bytes,
                    self._answer_bytes,
                    self.engine_status,
                )
            )
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
            if self.first_at:
                more += b'"tt":%d,' % ((self.first_at - call.started) * 1000)
        body = _FINAL % (
            self.prompt_tokens,
            self.completion_tokens,
            status,
            (now - call.started) * 1000,
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
        self.traces: TraceTerms | None = None  # as the settings have it; None where none are kept
        self._records = records
        self._serve_when_full = serve_when_full
        self._known: dict[int, tuple[Principal, tuple[Any, ...], Named]] = {}

    def admit(
        self, call: Call, *, endpoint: str, model: str, served_model: str, backend: str = ""
    ) -> Event:
        """An open event for `call`, durable before anything is forwarded. `backend` is for its trace.

        Raises JournalFullError where the journal cannot be written.
        """
        if not self._records:
            return Event(call)
        event = self._event(call, endpoint, model, served_model, backend=backend)
        try:
            event.open()
        except JournalFullError:
            if not self._serve_when_full:
                raise
            self.unrecorded("journal_full")
            event.leave_unrecorded()
        return event

    def _event(
        self,
        call: Call,
        endpoint: str,
        model: str,
        served_model: str,
        *,
        more: bytes = b"",
        backend: str = "",
    ) -> Event:
        principal = call.principal
        assert principal is not None  # noqa: S101  # the gate came first
        what: tuple[Any, ...] = (model, served_model, endpoint)
        terms = self.traces
        if terms is not None:
            given, client = call.headers.get, call.client
            agent, forwarded_for = given(b"user-agent"), given(b"x-forwarded-for")
            what = (model, served_model, endpoint, backend, client, forwarded_for, agent)
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
        return Event(call, event_id, self.journal, named, more=more, terms=terms)

    def _named(self, principal: Principal, what: tuple[Any, ...]) -> Named:
        """Who and what, as the journal takes it; kept for a caller who asks the same again."""
        model, served_model, endpoint, *traced = what
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
        if traced:
            fields |= marks.caller(*traced)
        named = self.journal.named(orjson.dumps(fields)[1:])
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        # which keeps the principal, and so its id, alive
        self._known[id(principal)] = (principal, what, named)
        return named

    def refused(
        self,
        call: Call,
        *,
        status: int,
        model: str = "",
        unknown: str | None = None,
        error: GatehouseError | None = None,
    ) -> None:
        """A caller who is known was refused before anything was asked of an engine: an error in the books.

        One record, not two: nothing was under way. Where there is no room the refusal stands all the same.
        """
        if not self._records:
            return
        more = b""
        if unknown is not None:  # any word of the caller's, a key in the wrong place perhaps
            more = b'"um":%b,' % orjson.dumps(readable(unknown, call.headers, len(unknown)))
        self._event(call, call.endpoint, model, "", more=more).settle(status, error=error)

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
