"""What is read off a real NVIDIA card, where this machine has one; elsewhere test_machine_api.py has a stand-in.

Imports nothing that needs Django, so that it runs on a machine that has psutil, nvidia-ml-py and pytest:
`python -m pytest -c /dev/null --noconftest inference/tests/test_graphics_card.py`.
"""

import subprocess
import sys
from contextlib import contextmanager

import pytest

from inference.hardware import hardware, has_nvidia_gpu, model_memory
from inference.machine import gpu_memory_by_pid, gpus

pytestmark = pytest.mark.skipif(not has_nvidia_gpu(), reason="this machine has no NVIDIA card")

TAKEN = 2 * 1024**3
MIB = 1024**2
HOLDER = f"""
import ctypes, sys
cuda = ctypes.CDLL("libcuda.so.1")
context, device, memory = ctypes.c_void_p(), ctypes.c_int(), ctypes.c_void_p()
assert cuda.cuInit(0) == 0
assert cuda.cuDeviceGet(ctypes.byref(device), 0) == 0
assert cuda.cuCtxCreate_v2(ctypes.byref(context), 0, device) == 0
assert cuda.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t({TAKEN})) == 0
print("taken", flush=True)
sys.stdin.read()
"""


@contextmanager
def two_gib_taken():
    """A process that holds as much of the first card, as an engine would."""
    command = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"taken\n"
        yield process
        process.communicate()


def told_by_nvidia(what):
    asked = f"--query-gpu={what}", "--format=csv,noheader,nounits"
    told = subprocess.run(["nvidia-smi", *asked], capture_output=True, text=True, check=True)
    return told.stdout.split("\n")[0].strip()


def test_the_card_is_what_its_own_tool_says():
    card = gpus()[0]
    assert card.vendor == "nvidia"
    assert card.name == told_by_nvidia("name")
    assert card.total_vram // MIB == int(told_by_nvidia("memory.total"))
    assert hardware() == ["nvidia", "cpu"]
    assert model_memory() == max(each.total_vram // MIB for each in gpus()) * MIB


def test_what_a_process_takes_is_seen_on_the_card_and_as_its_own_until_it_ends():
    before = gpus()[0]
    with two_gib_taken() as process:
        during, whose = gpus()[0], gpu_memory_by_pid()
    after = gpus()[0]
    assert during.used_vram - before.used_vram >= TAKEN
    assert before.free_vram - during.free_vram >= TAKEN
    assert TAKEN <= whose[process.pid] <= during.used_vram
    assert during.used_vram - after.used_vram >= TAKEN
    assert process.pid not in gpu_memory_by_pid()
