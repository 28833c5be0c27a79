"""One process between the supervisor and an engine, so that no engine outlives its supervisor.

Run as a script with nothing but the standard library: `python guardian.py PROGRAM ARGUMENTS…`.
Its standard input is a pipe whose other end only the supervisor holds. When that closes (the
supervisor ended, even by `kill -9`), or on SIGTERM, the whole tree below is ended, and it waits
until the tree is empty. It is the subreaper of what it started, so a process that leaves its group
or loses its parent is still below it. Linux only.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
GRACE_S = 5.0
NICENESS = 5  # who answers an engine's callers comes first on the same processors (023)
_libc = ctypes.CDLL(None, use_errno=True)


def descendants(root: int) -> set[int]:
    """Every process below `root`, by the parents that /proc tells."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found: set[int] = set()
    grown = {root}
    while grown:
        grown = {pid for pid, parent in parents.items() if parent in grown} - found
        found |= grown
    return found


def signal_all(pids: set[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def reap(child: int, status: int | None) -> int | None:
    """Collect whoever ended; the direct child's exit status once it did."""
    while True:
        try:
            pid, raw = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status if status is not None else 0
        if pid == 0:
            return status
        if pid == child:
            status = os.waitstatus_to_exitcode(raw)


def end_tree(child: int, status: int | None) -> int:
    """Ask everything below to end, then make it; returns when nothing is left."""
    signal_all(descendants(os.getpid()), signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while below := descendants(os.getpid()):
        status = reap(child, status)
        if time.monotonic() > deadline:
            signal_all(below, signal.SIGKILL)
        time.sleep(0.02)
    status = reap(child, status)
    return status if status is not None else 1


def begin_guarded() -> None:
    """In the child: be killed when the guardian itself is, and give way to the server's own processes."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.nice(NICENESS)


def main(argv: list[str]) -> int:
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    asked, wake = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: os.write(wake, b"x"))
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=begin_guarded
    )
    status: int | None = None
    while status is None:
        readable, _, _ = select.select([sys.stdin.fileno(), asked], [], [], 0.2)
        status = reap(process.pid, status)
        if readable:
            break
    return end_tree(process.pid, status) & 0xFF


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
