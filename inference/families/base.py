"""What an API family knows: its requests, its usage, its stream. One class per endpoint.

The forwarding code knows none of it; it calls these in order: `prepare`, then `finish` for a plain
answer or an editor's `feed` for each event of a stream.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import orjson

from core.errors import EngineUnreadableError

MAX_TOKENS = 2**31 - 1  # more than any engine counts; a column of the ledger holds it
JSON_TEXT = rb'"((?:[^"\\\x00-\x1f]++|\\.)*+)"'  # for patterns; what is inside goes to `text_in`


@dataclass(slots=True)
class Asked:
    """One request as its family understood it.

    `data` is the body, changed where it must be; `model` is what the caller called the model.
    """

    data: dict[str, Any]
    model: str
    served_model: str
    stream: bool = False
    keep_usage: bool = False
    keep_running_usage: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


class Tokens(NamedTuple):
    """The engine's counts; `prompt` includes what it had `cached`."""

    prompt: int
    completion: int
    cached: int = 0


class StreamEditor:
    """Edits a stream event by event and keeps the engine's counts.

    `done` is set by the family's last event. `text` collects what was streamed where the family
    carries no running counts; `deltas` counts those pieces.
    """

    __slots__ = ("asked", "deltas", "done", "failed", "result", "text", "tokens")

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.tokens: Tokens | None = None
        self.done = False
        self.failed = False
        self.deltas = 0
        self.text: list[str] | None = None
        self.result: dict[str, Any] | None = None

    def feed(self, event: bytes) -> bytes:
        """One whole SSE event, its blank line included, as it goes to the caller; empty drops it."""
        raise NotImplementedError

    def tail(self) -> bytes:
        """What the family's end still needs after the engine's last event."""
        return b""

    def cut(self, tokens: Tokens) -> bytes:
        """The end of a stream that reached its limit here: a finish reason, usage, the end marker."""
        raise NotImplementedError


class Rules(Protocol):
    """One endpoint's half of the work."""

    def prepare(self, asked: Asked) -> None:
        """Check the body and change what must change. Raises InvalidRequestError."""

    def usage(self, body: dict[str, Any]) -> Tokens | None:
        """The engine's counts in a plain answer, or None where it gave none (S-04)."""

    def finish(self, body: dict[str, Any], asked: Asked) -> dict[str, Any] | None:
        """The plain answer as the caller gets it; None where that is what the engine wrote."""

    def editor(self, asked: Asked) -> StreamEditor | None:
        """For a stream; None where the endpoint has none."""


def loads(raw: bytes) -> dict[str, Any]:
    """A JSON object of the engine's. Raises EngineUnreadableError for anything else."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise EngineUnreadableError from exc
    if not isinstance(body, dict):
        raise EngineUnreadableError
    return body


def counted(usage: Any, prompt_key: str, completion_key: str) -> Tokens | None:
    """Token counts out of a `usage` object; None where they are missing or not counts."""
    if not isinstance(usage, dict):
        return None
    prompt, completion = usage.get(prompt_key) or 0, usage.get(completion_key) or 0
    if type(prompt) is not int or type(completion) is not int:
        return None
    if not (0 <= prompt <= MAX_TOKENS and 0 <= completion <= MAX_TOKENS):
        return None
    details = usage.get(prompt_key + "_details")
    if details:
        return Tokens(prompt, completion, _cached(details, prompt))
    return Tokens(prompt, completion)


def _cached(details: Any, prompt: int) -> int:
    """How much of the prompt the engine had in its cache, as far as it says."""
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return min(cached, prompt) if type(cached) is int and cached > 0 else 0


def split_event(event: bytes) -> tuple[bytes, bytes]:
    """(event name, data) of one SSE event; several data lines are joined as the standard says."""
    name, data = b"", []
    for line in event.split(b"\n"):
        line = line.rstrip(b"\r")  # noqa: PLW2901
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif line.startswith(b"event:"):
            name = line[6:].strip()
    return name, b"\n".join(data)


def text_in(quoted: bytes) -> str | None:
    """What a JSON text says, without its quotes; None where no parser would take it."""
    try:
        if b"\\" not in quoted:
            return quoted.decode()
        text = orjson.loads(b'"%b"' % quoted)
    except ValueError:  # of both: not UTF-8, or no such escape
        return None
    return text if isinstance(text, str) else None
