"""Legacy keys: those of LOCALAI_API_KEY, and those of `api_keys.json`, which may change at any time.

A change is in force in every process within a second (contract 2.3). A file that cannot be read
leaves the last good keys in force: neither does it open the server, nor lock it (W-19).
"""

import json
import logging
import threading
import time
from pathlib import Path

log = logging.getLogger("gatehouse.legacy-keys")
LOOK_EVERY_S = 1.0
MAX_KEYS, MAX_KEY_CHARS, MAX_FILE_BYTES = 1000, 512, 1024 * 1024


class LegacyKeys:
    """The keys as they are now; the file is looked at once a second at most."""

    def __init__(self, configured: list[str], path: Path) -> None:
        self._configured = configured
        self._path = path
        self._lock = threading.Lock()
        self._looked_at = float("-inf")
        self._stamp: tuple[int, int] | None = None
        self._from_file: list[str] = []
        self._keys: tuple[bytes, ...] = self._joined()

    def current(self) -> tuple[bytes, ...]:
        """All keys, in a fixed order; the same object as long as nothing changed."""
        if time.monotonic() - self._looked_at > LOOK_EVERY_S and self._lock.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._looked_at = time.monotonic()
                self._lock.release()
        return self._keys

    def _look(self) -> None:
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_size)
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self._from_file = _read(self._path)
        except FileNotFoundError:
            self._stamp, self._from_file = None, []
        except (OSError, ValueError) as exc:
            log.warning("%s is not used: %s; it wants a list of strings", self._path.name, exc)
            return
        self._keys = self._joined()

    def _joined(self) -> tuple[bytes, ...]:
        both = dict.fromkeys([*self._configured, *self._from_file])
        return tuple(key.encode() for key in both)


def _read(path: Path) -> list[str]:
    """The keys of the file. Raises OSError, ValueError."""
    raw = path.read_bytes()
    if len(raw) > MAX_FILE_BYTES:
        raise ValueError("the file is too large")
    found = json.loads(raw)
    if not isinstance(found, list) or len(found) > MAX_KEYS:
        raise ValueError("no list, or too long a one")
    if not all(isinstance(key, str) and 0 < len(key) <= MAX_KEY_CHARS for key in found):
        raise ValueError("a key is no text, empty or too long")
    return found
