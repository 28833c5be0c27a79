"""What this machine has and how much of it is in use: processors, memory, disks, GPUs (R-29)."""

import os
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

CGROUP = Path("/sys/fs/cgroup")
SIZE_KEPT_S = 60.0


@dataclass(frozen=True, slots=True)
class Gpu:
    """One accelerator, in bytes."""

    index: int
    name: str
    vendor: str
    total_vram: int
    used_vram: int
    free_vram: int
    usage_percent: float


def per_cent(used: float, total: float) -> float:
    return round(100 * used / total, 1) if total else 0.0


@cache
def _nvml() -> Any:
    """NVIDIA's library, started; None where there is no card, no driver or no access to it."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def _count(nvml: Any) -> int:
    try:
        return int(nvml.nvmlDeviceGetCount())
    except nvml.NVMLError:  # the driver went away
        return 0


def gpus() -> list[Gpu]:
    """The NVIDIA cards of this machine; none is normal."""
    nvml = _nvml()
    if nvml is None:
        return []
    found = []
    for index in range(_count(nvml)):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            name, memory = nvml.nvmlDeviceGetName(handle), nvml.nvmlDeviceGetMemoryInfo(handle)
        except nvml.NVMLError:  # one that fell off its bus says nothing of the others
            continue
        total, used = int(memory.total), int(memory.used)
        found.append(
            Gpu(index, str(name), "nvidia", total, used, int(memory.free), per_cent(used, total))
        )
    return found


def gpu_memory_by_pid() -> dict[int, int]:
    """Bytes on all cards by process; a container may hide whose they are."""
    nvml = _nvml()
    found: dict[int, int] = {}
    if nvml is None:
        return found
    for index in range(_count(nvml)):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            running = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        except nvml.NVMLError:
            continue
        for process in running:
            found[process.pid] = found.get(process.pid, 0) + int(process.usedGpuMemory or 0)
    return found


def memory() -> dict[str, Any]:
    """RAM in bytes, a container's own where it is given less; `available` is what a process could have."""
    now = psutil.virtual_memory()
    total, available, free = now.total, now.available, now.free
    if (given := _container_memory()) is not None and given[0] < total:
        total = given[0]
        available = min(available, max(0, total - given[1]))
        free = min(free, available)
    used = total - available
    return {
        "total": total,
        "used": used,
        "free": free,
        "available": available,
        "usage_percent": per_cent(used, total),
    }


def _container_memory() -> tuple[int, int] | None:
    """(limit, in use) of the control group that this process sees as its root; None without one.

    Pages of files that nobody uses any more are given back when wanted, and do not count.
    """
    try:
        limit = int((CGROUP / "memory.max").read_text())
        current = int((CGROUP / "memory.current").read_text())
        lines = (CGROUP / "memory.stat").read_text().splitlines()
        idle = next((int(x.split()[1]) for x in lines if x.startswith("inactive_file ")), 0)
    except (OSError, ValueError):  # version 1, none, or "max"
        return None
    return limit, max(0, current - idle)


class Processors:
    """How busy the processors were since the last look of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._before = self._times()

    @staticmethod
    def _times() -> tuple[float, float]:
        """(seconds at work, all seconds) of all processors since the machine's start."""
        now = psutil.cpu_times()
        idle = now.idle + getattr(now, "iowait", 0.0)
        # guest time is in user time already
        everything = sum(now) - getattr(now, "guest", 0.0) - getattr(now, "guest_nice", 0.0)
        return everything - idle, everything

    def usage(self) -> float:
        now = self._times()
        with self._lock:
            worked, passed = now[0] - self._before[0], now[1] - self._before[1]
            self._before = now
        return min(100.0, max(0.0, per_cent(worked, passed)))


_processors = Processors()


def processors() -> dict[str, Any]:
    """How many we may use, how busy all are, and the load of 1, 5 and 15 minutes."""
    return {
        "count": len(os.sched_getaffinity(0)),
        "usage_percent": _processors.usage(),
        "load": [round(value, 2) for value in os.getloadavg()],
    }


def disks(folders: dict[str, Path]) -> list[dict[str, Any]]:
    """The disks that hold our folders, by the folders' names: no path of the machine is told."""
    found: dict[int, dict[str, Any]] = {}
    for name, folder in folders.items():
        try:
            there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
            device, use = there.stat().st_dev, psutil.disk_usage(str(there))
        except (OSError, StopIteration):
            continue
        if device in found:
            found[device]["holds"].append(name)
            continue
        found[device] = {
            "holds": [name],
            "total": use.total,
            "used": use.used,
            "free": use.free,
            "usage_percent": per_cent(use.used, use.used + use.free),
        }
    return list(found.values())


class FolderSize:
    """Bytes below a folder, counted once a minute at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[Path, tuple[float, int]] = {}

    def of(self, folder: Path) -> int:
        with self._lock:  # one walk at a time
            at, size = self._known.get(folder, (0.0, 0))
            if at and time.monotonic() - at < SIZE_KEPT_S:
                return size
            size = sum(_sizes(folder))
            self._known = {folder: (time.monotonic(), size)}
            return size


def _sizes(folder: Path) -> Iterable[int]:
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                yield (Path(where) / name).lstat().st_size
            except OSError:
                continue


_sizes_known = FolderSize()


def resources(folders: dict[str, Path], *, models: Path) -> dict[str, Any]:
    """The body of `GET /api/resources`: of the GPUs where there are any, else of the RAM."""
    cards, ram = gpus(), memory()
    if cards:
        total, used = sum(c.total_vram for c in cards), sum(c.used_vram for c in cards)
        free = sum(c.free_vram for c in cards)
    else:
        total, used, free = ram["total"], ram["used"], ram["available"]
    found: dict[str, Any] = {"type": "gpu" if cards else "ram", "available": True}
    if cards:
        found["gpus"] = [asdict(card) for card in cards]
    return {
        **found,
        "ram": ram,
        "cpu": processors(),
        "disks": disks(folders),
        "aggregate": {
            "total_memory": total,
            "used_memory": used,
            "free_memory": free,
            "usage_percent": per_cent(used, total),
            "gpu_count": len(cards),
        },
        "storage_size": _sizes_known.of(models),
    }
