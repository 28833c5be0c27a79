"""Counters in a small shared file that tell every worker when what it remembers is stale.

A change of rights moves the counter of its user before the change commits and again after, so
that a kill in between loses nothing. Reading one is eight bytes of mapped memory: no query, no
system call. Slots are by hash of the user; two users in one slot cost a look-up, nothing else.
"""

import fcntl
import mmap
import os
import struct
import zlib
from pathlib import Path

SLOTS = 1024
RIGHTS, CREDENTIALS, ENGINES = 0, 1, 2
_FIRST_USER_SLOT = 16
_SIZE = SLOTS * 8


def user_slot(user_id: str) -> int:
    """The slot that changes of this user's rights move."""
    return _FIRST_USER_SLOT + zlib.crc32(user_id.encode()) % (SLOTS - _FIRST_USER_SLOT)


class Generations:
    """The counters of one data path. Slots: RIGHTS (everybody), CREDENTIALS, ENGINES, users."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(self._fd).st_size < _SIZE:
            os.ftruncate(self._fd, _SIZE)
        self._map = mmap.mmap(self._fd, _SIZE)
        self._cells = memoryview(self._map).cast("Q")

    def read(self, slot: int) -> int:
        return self._cells[slot]

    def bump(self, slot: int) -> None:
        """Move one counter, so that two bumps at once move it twice."""
        fcntl.lockf(self._fd, fcntl.LOCK_EX)
        try:
            (value,) = struct.unpack_from("=Q", self._map, slot * 8)
            struct.pack_into("=Q", self._map, slot * 8, value + 1)
        finally:
            fcntl.lockf(self._fd, fcntl.LOCK_UN)
