"""Starting what a bench measures, on one core, and asking what it used."""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Self

import psutil

from tests.postgresql import free_port

ROOT = Path(__file__).resolve().parent.parent
CORES = sorted(os.sched_getaffinity(0))
MEASURED, LOAD = CORES[0], CORES[-1]
CHAT = "/v1/chat/completions"


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?"
    )
    return f"{model}, {len({MEASURED, LOAD})} of its cores, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"


class Process:
    """A program pinned to one core (or not), with its resident memory and CPU seconds."""

    def __init__(
        self, command: list[str], *, core: int | None, talks: bool = False, **environment: str
    ) -> None:
        pinned = ["taskset", "-c", str(core)] if core is not None else []
        self._process = subprocess.Popen(
            [*pinned, *command],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE if talks else subprocess.DEVNULL,  # an unread pipe would fill
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def _all(self) -> list[psutil.Process]:
        try:
            parent = psutil.Process(self._process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def memory_mb(self) -> dict[str, float]:
        """Resident memory by process, named by what it is."""
        found: dict[str, float] = {}
        for process in self._all():
            words = " ".join(process.cmdline()) or process.name()
            found[f"{_short(words)} [{process.pid}]"] = process.memory_info().rss / 1e6
        return found

    def largest_mb(self) -> float:
        """Resident memory of the largest process."""
        return max(self.memory_mb().values())

    def own_mb(self) -> float:
        """Memory of the largest process that is not pages of files, as the journal's segments are."""
        held = [process.memory_info() for process in self._all()]
        return max(each.rss - each.shared for each in held) / 1e6

    def cpu_s(self) -> float:
        return sum(sum(p.cpu_times()[:2]) for p in self._all())

    def pause(self) -> None:
        for process in self._all():
            process.suspend()

    def go_on(self) -> None:
        for process in self._all():
            process.resume()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(40)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def _short(words: str) -> str:
    for name in (
        "gunicorn",
        "runbackground",
        "runengine",
        "manage.py serve",
        "guardian",
        "vllm",
        "VLLM",
    ):
        if name in words:
            return name
    return words.split(" ", maxsplit=1)[0].rpartition("/")[2]


def socket_place() -> str:
    """Where an engine may listen: a Unix socket in a folder of its own."""
    return str(Path(tempfile.mkdtemp(prefix="gatehouse-engine-")) / "engine.sock")


def stub_engine(core: int, *, on_socket: bool = False) -> tuple[Process, str]:
    """(process, address): of a port, or of a Unix socket, as the product's own engines have one."""
    place = "0"
    if on_socket:
        place = socket_place()
    process = Process([sys.executable, "-m", "bench.stub_engine", place], core=core, talks=True)
    ready = process.line().split()
    return process, f"unix:{place}" if on_socket else f"http://127.0.0.1:{ready[1]}"


def gunicorn(
    application: str,
    core: int | None,
    port: int,
    *,
    workers: int = 1,
    worker: str = "inference.web_worker.Worker",
    **environment: str,
) -> Process:
    """`application` on the product's own server and settings."""
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        application,
        "--worker-class",
        worker,
    ]
    command += [
        "--workers",
        str(workers),
        "--bind",
        f"127.0.0.1:{port}",
        "--log-level",
        "error",
        "--keep-alive",
        "75",
    ]
    return Process(command, core=core, **environment)


def wait_for(url: str, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError as exc:
            if getattr(exc, "code", None) is not None:  # any status is an answer
                return
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def load(url: str, connections: int, seconds: float, *more: str) -> dict[str, Any]:
    """One run of `bench.load` on its core."""
    command = [
        "taskset",
        "-c",
        str(LOAD),
        sys.executable,
        "-m",
        "bench.load",
        url,
        str(connections),
        str(seconds),
    ]
    done = subprocess.run([*command, *more], cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    if found["errors"]:
        raise RuntimeError(f"{found['errors']} errors at {url}")
    return found


__all__ = [
    "CHAT",
    "LOAD",
    "MEASURED",
    "Process",
    "free_port",
    "gunicorn",
    "load",
    "machine",
    "stub_engine",
    "wait_for",
]
