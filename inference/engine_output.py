"""What an engine writes, taken from its pipes into its log, told apart by stream (R-13)."""

import logging
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import IO

from inference.log_files import LogWriter

log = logging.getLogger("gatehouse.engine")
PIECE_BYTES, MAX_PENDING = 65536, 65536
GATHER_S = 0.02  # a chatty engine costs one write for what it said meanwhile
REMEMBERED = 200


class EngineOutput:
    """One run of an engine: a thread that reads its two pipes until both are closed.

    The engines of one model share its writer: each batch is written whole under the writer's lock.
    Within a stream the lines keep their order; between the two a pipe cannot tell it.
    """

    def __init__(
        self, writer: LogWriter, *, keeps: Callable[[], bool] = lambda: True, replica: int = 0
    ) -> None:
        self._writer = writer
        self._replica = replica
        self._keeps = (
            keeps  # whether lines go into the log; read all the same, or the engine would wait
        )
        self._last: deque[str] = deque(maxlen=REMEMBERED)
        self._thread: threading.Thread | None = None
        self._is_full = False

    def follow(self, stdout: IO[bytes], stderr: IO[bytes]) -> None:
        """Begin to read; the pipes are closed when the engine's tree has ended."""
        pipes = {"stdout": stdout, "stderr": stderr}
        self._thread = threading.Thread(
            target=self._run, args=(pipes,), name="engine-output", daemon=True
        )
        self._thread.start()

    def finish(self, timeout_s: float = 2.0) -> None:
        """Wait until all that an ended engine wrote is in the log."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def last_texts(self) -> list[str]:
        """The last lines of this run, as the engine wrote them."""
        return list(self._last)

    def _run(self, pipes: dict[str, IO[bytes]]) -> None:
        pending = dict.fromkeys(pipes, b"")
        with selectors.DefaultSelector() as selector:
            for name, pipe in pipes.items():
                selector.register(pipe, selectors.EVENT_READ, name)
            while selector.get_map():
                n_bytes, lines = 0, []
                for key, _ in selector.select():
                    piece = os.read(key.fd, PIECE_BYTES)
                    n_bytes += len(piece)
                    whole, pending[key.data] = split(pending[key.data] + piece, ended=not piece)
                    lines += [(key.data, text) for text in whole]
                    if not piece:
                        selector.unregister(key.fileobj)
                self._keep(lines)
                if 0 < n_bytes < PIECE_BYTES // 2:
                    time.sleep(GATHER_S)
        for pipe in pipes.values():
            pipe.close()

    def _keep(self, lines: list[tuple[str, str]]) -> None:
        """Into the log; an engine never waits for a disk that is full, its lines are dropped."""
        if not lines:
            return
        self._last.extend(text for _, text in lines)
        if not self._keeps():
            return
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        try:
            stamped = [(now, stream, text) for stream, text in lines]
            self._writer.write(stamped, replica=self._replica)
            self._is_full = False
        except Exception as exc:  # noqa: BLE001  # nobody else reads the pipe, and the engine would stop
            if not self._is_full:
                log.warning("lines of an engine's log are lost: %s", type(exc).__name__)
            self._is_full = True


def split(raw: bytes, *, ended: bool) -> tuple[list[str], bytes]:
    """The whole lines of `raw`, and what is left of it; a line that never ends is cut.

    Of a line that was drawn over itself (a progress bar) the last state stays.
    """
    *whole, left = raw.split(b"\n")
    if len(left) > MAX_PENDING or (ended and left):
        whole.append(left)
        left = b""
    texts = [line.rstrip(b"\r").rpartition(b"\r")[2].decode(errors="replace") for line in whole]
    return texts, left
