"""An engine's log live (R-13, R-23): a WebSocket that follows the file, each viewer at its own pace.

Nothing is queued for a viewer: what it has not taken yet is on the disk. One that takes nothing is hung up
on by the server's protocol, one whose lines were taken out meanwhile is told to come back.
"""

import asyncio
import logging
from typing import Any
from urllib.parse import parse_qs

from channels.generic.websocket import AsyncWebsocketConsumer

from accounts.runtime import env
from core.errors import GatehouseError, InvalidRequestError, UnavailableError
from core.whole_numbers import whole_number
from inference.log_files import MAX_LINES, Cursor, FellBehindError, log_folder
from inference.socket_door import GATE

log = logging.getLogger("gatehouse.logs")
LOOK_S, RIGHT_S = 0.1, 0.5
POLICY, GOING_AWAY, TRY_AGAIN = 1008, 1001, 1013
MAX_VIEWERS = 200  # of one web process


class LogSocket(AsyncWebsocketConsumer):  # type: ignore[misc]  # the package has no types
    """`{"type":"initial","lines":[…]}`, then `{"type":"line","line":{…}}` for each line.

    `?after=seq` goes on behind that line, `?batch=1` takes several as `{"type":"lines","lines":[…]}`.
    """

    viewers = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._work: list[asyncio.Task[None]] = []

    @classmethod
    def check(cls, query: bytes) -> None:
        """Before the handshake. Raises InvalidRequestError, UnavailableError for one viewer too many."""
        read_query(query)
        if cls.viewers >= MAX_VIEWERS:
            raise UnavailableError("Too many are looking at logs.", retry_after_s=10)

    async def connect(self) -> None:
        await self.accept()
        LogSocket.viewers += 1
        loop = asyncio.get_running_loop()
        self._work = [loop.create_task(self._follow()), loop.create_task(self._watch_right())]

    async def disconnect(self, _code: int) -> None:
        if self._work:
            LogSocket.viewers -= 1
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """A viewer has nothing to say."""

    async def _watch_right(self) -> None:
        """Ask again whether this caller may look; the caller who may not is cut off (R-13)."""
        while True:
            await asyncio.sleep(RIGHT_S)
            try:
                await self.scope[GATE]()
            except Exception as exc:  # whatever went wrong, the right is asked for again
                if not isinstance(exc, GatehouseError):
                    log.exception("the right of a viewer could not be asked for")
                    continue
                if exc.http_status < 500:  # a database that is away takes no right
                    self._work[0].cancel()
                    await self.close(POLICY)
                    return

    async def _follow(self) -> None:
        after, in_batches = read_query(self.scope["query_string"])
        folder = log_folder(env().data_path, self.scope["url_route"]["kwargs"]["model"])
        cursor = await asyncio.to_thread(Cursor, folder, after)
        try:
            lines = await asyncio.to_thread(cursor.read, MAX_LINES)
            await self._send_many("initial", lines)
            await self._go_on(cursor, in_batches=in_batches)
        except FellBehindError:
            await self.close(TRY_AGAIN)
        except OSError as exc:
            if exc.errno is not None:  # else the viewer is gone, in uvicorn's words
                log.warning("a log could not be read: %s", exc.strerror)
                await self.close(GOING_AWAY)
        finally:
            cursor.close()

    async def _go_on(self, cursor: Cursor, *, in_batches: bool) -> None:
        while True:
            lines = await asyncio.to_thread(cursor.read) if cursor.has_news() else []
            if not lines:
                await asyncio.sleep(LOOK_S)
            elif in_batches:
                await self._send_many("lines", lines)
            else:
                for line in lines:
                    await self.send(text_data='{"type":"line","line":' + line.decode() + "}")
                await asyncio.sleep(0)  # others have their turn after so many

    async def _send_many(self, kind: str, lines: list[bytes]) -> None:
        joined = b",".join(lines).decode()
        await self.send(text_data=f'{{"type":"{kind}","lines":[{joined}]}}')


def read_query(query: bytes) -> tuple[int | None, bool]:
    """`after` and `batch` of a query. Raises InvalidRequestError."""
    given = parse_qs(query.decode("latin-1"))
    after, batch = given.get("after", [""])[-1], given.get("batch", ["0"])[-1]
    line = whole_number(after, 9)
    if after and line is None:
        raise InvalidRequestError("after must be the number of a line", param="after")
    if batch not in {"0", "1"}:
        raise InvalidRequestError("batch must be 0 or 1", param="batch")
    return line, batch == "1"
