"""Where answers are written in this process: started, followed, stopped, kept (decision 019).

The lane's runtime is lent by `localai_project.asgi`, whose loop the answers run in. Where there is none, as
under Django's test client, a thread with a loop of its own stands in.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from concurrent.futures import TimeoutError as LateError
from functools import cache, partial
from typing import Any, TypeVar
from uuid import UUID

from django.db import DatabaseError, connections

from chat import keeping
from chat.bounds import FLUSH_S, LEASE_EVERY_S, MAX_ANSWERS_A_WORKER, VERDICT_S
from chat.live import Live
from chat.producing import Order, produce
from core.errors import GatehouseError, QueueFullError, UnavailableError
from inference.api.adapter import make_runtime
from inference.engine_table import EngineTable, Target
from inference.runtime import Runtime

log = logging.getLogger("gatehouse.chat")
Found = TypeVar("Found")
STOPPING = "The server is stopping."
FULL = "Too many answers are being written on this server."


class Desk:
    """The answers of this process. Methods are for any thread but where they say otherwise."""

    def __init__(self) -> None:
        self._live: dict[UUID, Live] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runtime: Runtime | None = None
        # who follows rows of other processes must not hold up what is to be written down
        self._writers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="chat-keep")
        self._readers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="chat-look")
        self._keeper: asyncio.Task[None] | None = None
        self._alone: set[asyncio.Task[None]] = set()  # without a runtime to keep them
        self._lock = threading.Lock()

    # --- with the worker -------------------------------------------------------------------------

    def open(self, runtime: Runtime) -> None:
        """Take the worker's runtime; in its loop."""
        self._loop, self._runtime = asyncio.get_running_loop(), runtime

    def close(self) -> None:
        """After the runtime's tasks, the answers among them, have ended; in the loop."""
        if self._keeper is not None:
            self._keeper.cancel()
        self._loop = self._runtime = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that answers are written in."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                run = threading.Thread(target=self._loop.run_forever, name="chat", daemon=True)
                run.start()
            return self._loop

    async def look(self, work: Callable[..., Found], *arguments: Any) -> Found:
        """Work that reads the database, in a thread of ours."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, partial(_apart, work, *arguments))

    async def keep(self, work: Callable[..., Found], *arguments: Any) -> Found:
        """Work that writes to it, in another."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writers, partial(_apart, work, *arguments))

    @property
    def engines(self) -> EngineTable | None:
        """What this worker knows of models and engines; None outside a web process."""
        return None if self._runtime is None else self._runtime.engines

    # --- answers ---------------------------------------------------------------------------------

    def target(self, name: str) -> Target | None:
        """What is known of a model here; None where that is nothing, or it is nobody's name."""
        if self._runtime is None:
            return None
        try:
            return self._runtime.engines.find(name or None, "chat")
        except GatehouseError:
            return None

    def begin(self, live: Live, order: Order) -> None:
        """Have an answer written, and return once it begins, or a moment later.

        Raises the GatehouseError that refused it before it began; it is not kept then.
        """
        if len(self._live) >= MAX_ANSWERS_A_WORKER:
            raise QueueFullError(FULL, retry_after_s=5)
        self.loop.call_soon_threadsafe(self._start, live, order)
        try:
            order.verdict.result(VERDICT_S)
        except LateError:
            if not order.verdict.cancel():  # it was said just now
                order.verdict.result()
        except CancelledError as exc:
            raise UnavailableError(STOPPING, retry_after_s=5) from exc

    def find(self, message_id: UUID) -> Live | None:
        """An answer that is written here."""
        return self._live.get(message_id)

    def stop(self, message_id: UUID) -> None:
        """Stop it where it is written here. (Elsewhere the row says so, within a quarter of a second.)"""
        if (live := self._live.get(message_id)) is not None:
            self.loop.call_soon_threadsafe(partial(live.cancel, stopped=True))

    def forget(self, message_ids: Iterable[UUID]) -> None:
        """The same for what was deleted."""
        for message_id in message_ids:
            if (live := self._live.get(message_id)) is not None:
                self.loop.call_soon_threadsafe(partial(live.cancel, gone=True))

    # --- in the loop -----------------------------------------------------------------------------

    def _start(self, live: Live, order: Order) -> None:
        self._live[live.id] = live
        work = self._produce(live, order)
        if self._runtime is not None:
            self._runtime.spawn(work, "answer")
        else:
            self._alone.add(task := asyncio.get_running_loop().create_task(work))
            task.add_done_callback(self._alone.discard)
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.get_running_loop().create_task(self._keep_up())

    async def _produce(self, live: Live, order: Order) -> None:
        runtime, lent = self._runtime, True
        live.task = asyncio.current_task()
        try:
            if runtime is None:
                runtime, lent = await make_runtime(), False
            await produce(
                live, order, runtime, partial(self.keep, keeping.end, live.id, live.token)
            )
        finally:
            self._live.pop(live.id, None)  # from now on nobody renews its lease
            live.end()
            if not order.verdict.done():
                order.verdict.cancel()
            if runtime is not None and not lent:
                runtime.engines.close()

    async def _keep_up(self) -> None:
        """Write down what came, four times a second, while something is being written."""
        renewed_at = time.monotonic()
        while self._live:
            await asyncio.sleep(FLUSH_S)
            now = time.monotonic()
            renew = now - renewed_at >= LEASE_EVERY_S
            try:
                await self._keep_round(now, renew=renew)
            except DatabaseError as exc:  # what came is still here: the next round writes it
                log.warning("answers are written down in a moment: %s", type(exc).__name__)
            except Exception:
                log.exception("answers could not be written down")
            else:
                renewed_at = now if renew else renewed_at

    async def _keep_round(self, now: float, *, renew: bool) -> None:
        due = [live for live in self._live.values() if live.is_due(now) and not live.closing]
        texts = [_progress(live) for live in due]
        sizes = [live.n_chars for live in due]
        under_way = {live.id: live.token for live in self._live.values()}
        asked = await self.keep(partial(keeping.keep_up, texts, under_way, renew=renew))
        for live, n_chars in zip(due, sizes, strict=True):
            live.flushed(n_chars, time.monotonic())
        self._heed(asked)

    def _heed(self, asked: keeping.Asked) -> None:
        for message_id in asked.to_stop:
            if (live := self._live.get(message_id)) is not None:
                live.cancel(stopped=True)
        for message_id in asked.gone:
            if (live := self._live.get(message_id)) is not None:
                live.cancel(gone=True)


def _progress(live: Live) -> keeping.Progress:
    text = live.text()
    fields = {
        "content": text.content,
        "reasoning": text.reasoning,
        "model": live.model,
        "prompt_tokens": live.prompt_tokens,
        "completion_tokens": live.completion_tokens,
        "first_token_ms": live.first_token_ms,
        "duration_ms": live.duration_ms,
    }
    return keeping.Progress(live.id, live.token, fields)


def _apart(work: Callable[..., Found], *arguments: Any) -> Found:
    """`work` in this thread, whose connection does not outlive it."""
    try:
        return work(*arguments)
    finally:
        connections.close_all()


@cache
def desk() -> Desk:
    """The desk of this process."""
    return Desk()
