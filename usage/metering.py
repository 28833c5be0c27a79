"""The meter: opens an event when a caller is admitted and settles it, however the request ends.

Plain and synchronous, so that a cancelled task cannot lose it: each call is one `write`.
"""

import logging
import time
from typing import Any

import orjson
import uuid_utils

from core.call import Call
from core.errors import UnavailableError
from usage.journal import FINAL, OPEN, PROGRESS, RESPONSE, Journal, JournalError

log = logging.getLogger("gatehouse.journal")
PROGRESS_EVERY_S = 1.0


class Event:
    """One request in the books, from admission to settlement.

    `tokens(prompt, completion)` takes the engine's running counts; `settle` writes the last word
    and does nothing the second time.
    """

    __slots__ = (
        "_common",
        "_journal",
        "_next_progress",
        "_started",
        "completion_tokens",
        "delivered",
        "estimated",
        "id",
        "prompt_tokens",
        "settled",
    )

    def __init__(self, journal: Journal, fields: dict[str, Any], started: float) -> None:
        self._journal = journal
        self.id = str(fields["id"])
        self._common = orjson.dumps(fields)[1:]  # what every record of it says, written once
        self._started = started
        self._next_progress = started + PROGRESS_EVERY_S
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.delivered = False
        self.estimated = False
        self.settled = False

    def open(self) -> None:
        """Write the `open` record. Raises UnavailableError where the journal cannot be written."""
        try:
            self._journal.write_json(OPEN, self.id, b'{"k":"o",' + self._common)
        except JournalError as exc:
            raise UnavailableError(
                "Usage cannot be recorded at the moment.", retry_after_s=10
            ) from exc

    def tokens(self, prompt: int, completion: int) -> None:
        """The engine's counts so far; once a second they go into the journal too."""
        self.prompt_tokens = prompt
        self.completion_tokens = completion
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
            self.prompt_tokens = self.completion_tokens = 0
        self._write(FINAL, status, counted=counted)

    def _write(self, kind: str, status: int, *, counted: bool) -> None:
        own = b'{"k":"%b","p":%d,"c":%d,"st":%d,"n":%b,"est":%b,"d":%d,' % (
            kind.encode(),
            self.prompt_tokens,
            self.completion_tokens,
            status,
            b"true" if counted else b"false",
            b"true" if self.estimated else b"false",
            (time.perf_counter() - self._started) * 1000,
        )
        try:
            self._journal.write_json(kind, self.id, own + self._common)
        except JournalError:
            # A final record has its room kept free (usage.journal); progress is for a kill only.
            log.warning("a %s record of the journal could not be written", kind)


class Meter:
    """Makes the events of one worker."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def admit(self, call: Call, *, endpoint: str, model: str, served_model: str) -> Event:
        """An open event for `call`, durable before anything is forwarded.

        Raises UnavailableError where the journal cannot be written.
        """
        principal = call.principal
        assert principal is not None  # noqa: S101  # the gate came first
        fields = {
            "id": str(uuid_utils.uuid7()),
            "t": time.time(),
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
        event = Event(self.journal, fields, call.started)
        event.open()
        return event

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
