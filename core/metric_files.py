"""The folder through which our processes share their metrics, and how its files are kept.

`prometheus_client` writes a file per process and kind, mapped into memory; a scrape adds them up.
`localai_project.env` names the folder in the environment before that library is first imported.
"""

import os
from contextlib import suppress
from pathlib import Path

from prometheus_client import Metric, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

RESERVED_BYTES = 64 * 1024
MAX_ENTRY_EXTRA_BYTES = 64  # what an entry holds beside its key: length, padding, two doubles


class ReservedFile(MmapedDict):
    """The library's file with its space reserved: on a full disk a sparse one is a SIGBUS.

    Raises OSError where there is no room, which costs a metric and never an answer.
    """

    def __init__(self, filename: str, read_mode: bool = False) -> None:  # noqa: FBT001, FBT002
        fd = os.open(filename, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, RESERVED_BYTES)
        finally:
            os.close(fd)
        super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        if self._used + len(key.encode()) + MAX_ENTRY_EXTRA_BYTES > self._capacity:
            os.posix_fallocate(self._f.fileno(), 0, 2 * self._capacity)
        super()._init_value(key)  # type: ignore[no-untyped-call]


values.MmapedDict = ReservedFile  # type: ignore[attr-defined]  # looked up by that name for every new file


def is_kept(path: Path) -> bool:
    """Whether the process that writes this file is alive: it has it mapped until it ends.

    The number in the name alone would not do, as numbers of processes are used again.
    """
    pid = path.stem.rpartition("_")[2]
    try:
        return str(path.resolve()) in Path(f"/proc/{pid}/maps").read_text(errors="replace")
    except OSError:
        return False


def empty(folder: Path) -> None:
    """Take out what earlier servers left, at a server's start; a living process keeps its files."""
    for path in folder.glob("*.db"):
        if not is_kept(path):
            path.unlink(missing_ok=True)


def collect(folder: Path) -> list[Metric]:
    """All processes' metrics added up; gauges of processes that ended are taken out first."""
    for path in folder.glob("gauge_live*.db"):
        if not is_kept(path):
            path.unlink(missing_ok=True)
    files = []
    for path in folder.glob("*.db"):
        with suppress(FileNotFoundError):
            if path.stat().st_size:  # an empty one is being made just now
                files.append(str(path))
    return list(MultiProcessCollector.merge(files))  # type: ignore[no-untyped-call]
