"""Files that several processes share: lock files, and files that only we may read."""

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class AlreadyHeldError(Exception):
    """Another live process holds this lock."""


class HeldLock:
    """An exclusive lock on a file for as long as this process lives or until `release`.

    The kernel drops it with the process, so a kill leaves nothing to clean up. Raises
    AlreadyHeldError at once where another process holds it.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(self._fd)
            raise AlreadyHeldError(path) from exc

    def release(self) -> None:
        os.close(self._fd)


@contextmanager
def exclusive(path: Path, *, timeout_s: float | None = None) -> Iterator[None]:
    """Hold the lock file at `path` for the block; waits for whoever has it, `timeout_s` at most.

    Raises AlreadyHeldError where somebody has it for longer.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if timeout_s is None:
            fcntl.flock(fd, fcntl.LOCK_EX)
        else:
            _lock_within(fd, path, timeout_s)
        yield
    finally:
        os.close(fd)


def _lock_within(fd: int, path: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise AlreadyHeldError(path) from None
            time.sleep(0.005)


def secret_from_file(path: Path) -> str:
    """The secret kept at `path`; made (32 random bytes, 0600) by whichever process comes first."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # fails where another process was first; then theirs counts
        except FileExistsError:
            return path.read_text().strip()
        finally:
            draft.unlink()
    return path.read_text().strip()


def secrets_from_file(path: Path) -> list[str]:
    """The secrets kept at `path`, one a line, the one that signs first; made where there are none."""
    first = secret_from_file(path)
    return [line.strip() for line in first.splitlines() if line.strip()]


def keep_secrets(path: Path, lines: list[str]) -> None:
    """Replace the secrets at `path` at once: a reader sees the old ones or the new ones."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
