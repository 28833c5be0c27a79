"""What this machine computes with."""

import os
import shutil
from pathlib import Path


def has_nvidia_gpu() -> bool:
    """Whether an NVIDIA card and its driver are there."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def hardware() -> list[str]:
    """What a recipe's `hardware` is matched against, the best first."""
    return ["nvidia", "cpu"] if has_nvidia_gpu() else ["cpu"]


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


def cpu_list() -> str:
    """The processors we may use, as `0,1,4`."""
    return ",".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0)))


def host_environment() -> dict[str, str]:
    """This process's environment, for children of ours (an engine gets a few names of it only)."""
    return dict(os.environ)  # noqa: TID251  # passed on whole, not read
