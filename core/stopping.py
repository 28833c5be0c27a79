"""A wish to stop that a signal handler may say."""

import os
import select
from contextlib import suppress


class Stop:
    """`threading.Event` as far as it is needed to stop, and safe in a signal handler.

    An Event has a lock, which the thread that the signal interrupts may hold at that moment, in the middle
    of `wait`: the handler then waits for ever, and so does whoever asked the process to stop. A byte in a
    pipe needs none.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)

    def set(self) -> None:
        with suppress(BlockingIOError):  # full: it was said often enough
            os.write(self._write, b"x")

    def is_set(self) -> bool:
        return self.wait(0)

    def wait(self, timeout_s: float) -> bool:
        """Whether it was said, at the latest `timeout_s` from now. In any thread, as often as one likes."""
        readable = select.poll()
        readable.register(self._read, select.POLLIN)
        return bool(readable.poll(max(0.0, timeout_s) * 1000))

    def __del__(self) -> None:
        os.close(self._read)
        os.close(self._write)
