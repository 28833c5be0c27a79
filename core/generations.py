"""Counters in a small shared file that tell every worker when what it remembers is stale.

A change of rights moves the counter of its user before the change commits and again after, so
that a kill in between loses nothing. Reading one is eight bytes of mapped memory: no query, no
system call. Slots are by hash of the user; two users in one slot cost a look-up, nothing else.
"""

import mmap
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from core.files import exclusive

SLOTS = 1024
RIGHTS, CREDENTIALS, ENGINES, CHANGES, TERMS, SETTINGS = 0, 1, 2, 3, 4, 5
_FIRST_USER_SLOT = 16
_SIZE = SLOTS * 8


def user_slot(user_id: str) -> int:
    """The slot that changes of this user's rights move."""
    return _FIRST_USER_SLOT + zlib.crc32(user_id.encode()) % (SLOTS - _FIRST_USER_SLOT)


class Generations:
    """The counters of one data path. Slots: RIGHTS (everybody), CREDENTIALS, ENGINES, TERMS,
    SETTINGS, users.

    CHANGES moves with every user's slot: a look-up that began before any change may not be kept.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = path.with_suffix(".lock")
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(fd).st_size < _SIZE:
            os.ftruncate(fd, _SIZE)
        self._map = mmap.mmap(fd, _SIZE)
        os.close(fd)
        # (slot) -> the counter: several are read for each request
        self.read: Callable[[int], int] = memoryview(self._map).cast("Q").__getitem__

    def bump(self, slot: int) -> None:
        """Move one counter (and CHANGES with a user's), so that two bumps at once move it twice."""
        with exclusive(self._lock):
            for each in (slot, CHANGES) if slot >= _FIRST_USER_SLOT else (slot,):
                (value,) = struct.unpack_from("=Q", self._map, each * 8)
                struct.pack_into("=Q", self._map, each * 8, value + 1)
