"""What this machine computes with."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import psutil


def has_nvidia_gpu() -> bool:
    """Whether an NVIDIA card and its driver are there."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def hardware() -> list[str]:
    """What a recipe's `hardware` is matched against, the best first."""
    return ["nvidia", "cpu"] if has_nvidia_gpu() else ["cpu"]


@cache
def model_memory() -> int | None:
    """Bytes that models can have: the largest card's, else the machine's; None where nobody knows."""
    if not has_nvidia_gpu():
        return int(psutil.virtual_memory().total)
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]  # MiB
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return max(int(line) for line in asked.stdout.split()) * 1024 * 1024
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def processor_flags() -> frozenset[str]:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags"):
                return frozenset(line.partition(":")[2].split())
    except OSError:
        return frozenset()
    return frozenset()


def cpu_dtype() -> str:
    """bfloat16 where the processor has it, else float32: elsewhere it is emulated (engine.md)."""
    return "bfloat16" if {"avx512_bf16", "amx_bf16"} & processor_flags() else "float32"


def cpu_list(at_most: int = 0) -> str:
    """The processors we may use, as `0,1,4`; the first `at_most` of them, or all for 0."""
    cpus = sorted(os.sched_getaffinity(0))
    return ",".join(str(cpu) for cpu in cpus[: at_most or None])


def host_environment() -> dict[str, str]:
    """This process's environment, for children of ours (an engine gets a few names of it only)."""
    return dict(os.environ)  # noqa: TID251  # passed on whole, not read
