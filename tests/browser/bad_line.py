"""A bad network on loopback: a line to a server that cuts, drips, stalls and drops what comes back."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

ALL = 2**31


@dataclass(frozen=True, slots=True)
class Trouble:
    """What happens to one response: cut, or silent, after so many bytes; in `piece` bytes at a time. Where
    nothing `arrives`, the server does not hear of the request either.
    """

    arrives: bool = True
    cut_after: int = ALL
    silent_after: int = ALL
    piece: int = 65536
    pause_s: float = 0.0


FINE = Trouble()
NONE_OF_IT = Trouble(cut_after=0)
DOWN = Trouble(arrives=False)


@dataclass(slots=True, eq=False)
class _Response:
    trouble: Trouble = FINE
    n_bytes: int = 0


@dataclass(eq=False)
class BadLine:
    """`trouble` is asked with the first line of each request. `drops`: every so many-th connection is
    not taken; 1 is all of them. `cuts` counts what was cut and dropped.
    """

    port: int
    trouble: Callable[[str], Trouble] = lambda _: FINE
    drops: int = 0
    cuts: int = 0
    _n: int = 0
    _open: set[asyncio.Task[None]] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._loop.run_forever, name="bad-line")
        self._thread.start()
        serving = asyncio.start_server(self._take, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result(5)
        self.own_port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://localhost:{self.own_port}"

    def fine(self) -> None:
        """No trouble from now on."""
        self.trouble, self.drops = lambda _: FINE, 0

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        for task in (found := list(self._open)):
            task.cancel()
        await asyncio.gather(*found, return_exceptions=True)
        await asyncio.sleep(0.05)  # transports close in the loop's next rounds

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self._n += 1
        try:
            if self.drops and self._n % self.drops == 0:
                self.cuts += 1
                return
            await self._join(reader, writer)
        except (OSError, asyncio.CancelledError):
            return
        finally:
            writer.transport.abort()
            self._open.discard(task)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, up = await asyncio.open_connection("127.0.0.1", self.port)
        response = _Response()
        ways = [
            asyncio.create_task(self._up(reader, up, response)),
            asyncio.create_task(self._down(there, writer, response)),
        ]
        try:
            await asyncio.wait(ways, return_when="FIRST_COMPLETED")
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            up.transport.abort()

    async def _up(
        self, reader: asyncio.StreamReader, there: asyncio.StreamWriter, response: _Response
    ) -> None:
        while received := await reader.read(65536):
            line = received.partition(b"\r\n")[0].decode("latin-1")
            if line.endswith(" HTTP/1.1"):
                response.trouble, response.n_bytes = self.trouble(line), 0
            if not response.trouble.arrives:
                self.cuts += 1
                return
            there.write(received)
            await there.drain()

    async def _down(
        self, there: asyncio.StreamReader, writer: asyncio.StreamWriter, response: _Response
    ) -> None:
        while received := await there.read(65536):
            for at in range(0, len(received), response.trouble.piece):
                trouble = response.trouble
                piece = received[at : at + trouble.piece]
                left = min(trouble.cut_after, trouble.silent_after) - response.n_bytes
                response.n_bytes += len(piece)
                writer.write(piece[: max(left, 0)])
                await writer.drain()
                if response.n_bytes > trouble.silent_after:
                    await asyncio.sleep(3600)
                if response.n_bytes > trouble.cut_after:
                    self.cuts += 1
                    return
                await asyncio.sleep(trouble.pause_s)
