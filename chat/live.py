"""An answer that is being written in this process: what came of it so far, and who follows it.

Everything here happens in the event loop's thread. No Django.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from chat.bounds import FLUSH_CHARS, FLUSH_S, MAX_ANSWER_CHARS, MAX_FLUSH_S
from core.call import Message
from core.errors import EngineUnreadableError
from inference.families.base import loads

MOST = 2**31 - 1  # that a database counts


@dataclass(slots=True, frozen=True)
class Text:
    """What came of an answer up to a moment."""

    content: str
    reasoning: str


@dataclass(slots=True, eq=False)
class Live:
    """One answer under way, known by its row's `id` and by `token`, its correlation id.

    `begun_with` is the text that it continues, `…_before` what that took. `task` writes it. `stopped`,
    `gone` and `full` say why that is cancelled: somebody asked for it, the row is not ours any more, or
    it is as long as an answer may be.
    """

    id: UUID
    token: str = ""
    begun_with: Text = field(default_factory=lambda: Text("", ""))
    tokens_before: int = 0
    ms_before: int = 0
    first_ms_before: int | None = None
    started: float = field(default_factory=time.perf_counter)
    task: asyncio.Task[Any] | None = None
    stopped: bool = False
    gone: bool = False
    full: bool = False
    closing: bool = False  # all of it came, and is being written down
    ended: bool = False
    model: str = ""
    finish_reason: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    first_at: float = 0.0
    status: int = 0  # of the engine's answer, once it began
    n_chars: int = 0
    _content: list[str] = field(default_factory=list)
    _reasoning: list[str] = field(default_factory=list)
    _flushed_chars: int = 0
    _next_flush: float = 0.0
    _moved: asyncio.Event = field(default_factory=asyncio.Event)
    _rest: bytes = b""

    def __post_init__(self) -> None:
        self._content = [self.begun_with.content]
        self._reasoning = [self.begun_with.reasoning]
        self.n_chars = len(self.begun_with.content) + len(self.begun_with.reasoning)
        self._flushed_chars = self.n_chars

    # --- what comes ------------------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        """ASGI's `send` of the request: reads the stream that a caller of the API would get.

        Raises EngineUnreadableError for what is no chunk.
        """
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        data = self._rest + message.get("body", b"")
        *events, self._rest = data.split(b"\n\n")
        try:
            for event in events:
                if event.startswith(b"data: {"):
                    self.take(loads(event[6:]))
            if not message.get("more_body") and self._rest.startswith(b"{"):
                self.take(loads(self._rest))  # an engine that does not stream
        except AttributeError as exc:  # no object where a chunk has one
            raise EngineUnreadableError from exc
        finally:
            self._tell()

    def take(self, chunk: dict[str, Any]) -> None:
        """One chunk of a chat completion, or a whole one."""
        self.model = self.model or _kept(str(chunk.get("model") or ""))[:255]
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self.prompt_tokens = _count(usage.get("prompt_tokens"))
            if (count := _count(usage.get("completion_tokens"))) is not None:
                self.completion_tokens = min(self.tokens_before + count, MOST)
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else {}
        delta = choice.get("delta") or choice.get("message") or {}
        if isinstance(given := choice.get("finish_reason"), str):
            self.finish_reason = _kept(given)[:40]
        self._add(self._reasoning, delta.get("reasoning") or delta.get("reasoning_content"))
        self._add(self._content, delta.get("content"))

    def _add(self, pieces: list[str], piece: object) -> None:
        if not isinstance(piece, str) or not piece:
            return
        piece = _kept(piece)
        if not self.first_at:
            self.first_at = time.perf_counter()
        if self.n_chars + len(piece) > MAX_ANSWER_CHARS:
            self.cancel(full=True)
            return
        pieces.append(piece)
        self.n_chars += len(piece)

    def cancel(self, *, stopped: bool = False, gone: bool = False, full: bool = False) -> None:
        """End it now; once, and not while what came is being written down."""
        if self.task is None or self.closing or self.stopped or self.gone or self.full:
            return
        self.stopped, self.gone, self.full = stopped, gone, full
        self.task.cancel()

    # --- who looks -------------------------------------------------------------------------------

    def text(self) -> Text:
        """All of it so far."""
        content, reasoning = "".join(self._content), "".join(self._reasoning)
        self._content, self._reasoning = [content], [reasoning]
        return Text(content, reasoning)

    async def moved(self, timeout_s: float) -> None:
        """Until something came, or it ended, or the time is over."""
        if self.ended:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._moved.wait()
        except TimeoutError:
            return

    def end(self) -> None:
        """It is in the database as it is now, and nothing comes any more."""
        self.ended = True
        self._tell()

    def _tell(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    # --- writing it down -------------------------------------------------------------------------

    def is_due(self, now: float) -> bool:
        """Whether it has something new that should be written down: long texts less often."""
        return self.n_chars > self._flushed_chars and now >= self._next_flush

    def flushed(self, n_chars: int, now: float) -> None:
        self._flushed_chars = n_chars
        self._next_flush = now + min(FLUSH_S * (1 + n_chars / FLUSH_CHARS), MAX_FLUSH_S) * 0.9

    @property
    def first_token_ms(self) -> int | None:
        if self.first_ms_before is not None:
            return self.first_ms_before
        return round((self.first_at - self.started) * 1000) if self.first_at else None

    @property
    def duration_ms(self) -> int:
        return self.ms_before + round((time.perf_counter() - self.started) * 1000)


def _kept(text: str) -> str:
    """Without what no database keeps, and nobody can read."""
    return text.replace("\0", "")


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST else None
