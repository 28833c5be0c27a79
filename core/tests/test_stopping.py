"""A process that is asked to stop does, whenever the signal comes."""

import subprocess
import sys
import time

from core.stopping import Stop

# A signal some microseconds into a wait, again and again, and another at its heels.
SIGNALS = """
import random, signal
from core.stopping import Stop
for _ in range(20_000):
    stop = Stop()
    signal.signal(signal.SIGALRM, lambda *_: stop.set())
    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 1e-4), 2e-4)
    while not stop.wait(1e-5):
        pass
    signal.setitimer(signal.ITIMER_REAL, 0)
print("stopped")
"""


def test_a_signal_at_any_moment_stops_what_waits():
    done = subprocess.run([sys.executable, "-c", SIGNALS], capture_output=True, timeout=60)
    assert done.stdout == b"stopped\n"


def test_it_stays_said_and_waiting_ends_at_once():
    stop = Stop()
    assert not stop.is_set()
    assert not stop.wait(0.01)
    for _ in range(100_000):  # more than a pipe holds
        stop.set()
    began = time.monotonic()
    assert stop.wait(60)
    assert stop.wait(60)
    assert stop.is_set()
    assert time.monotonic() - began < 1
