"""Real processes at the same counters, and what a kill leaves."""

import mmap
import multiprocessing
import os
import random
import signal
import struct
import threading
import time

import pytest

from usage.quotas import local_counters
from usage.quotas.counter_file import CounterFile
from usage.quotas.counter_layout import CHANGING, CLEAN, CONTENTS, DIRTY, REQUESTS, TOKENS
from usage.quotas.local_counters import LocalCounters
from usage.quotas.terms import CountersBusyError, Hold
from usage.quotas.window import refusing, window_of
from usage.tests.quotas.conftest import a_rule

NOW = 1_800_000_000.0
fork = multiprocessing.get_context("fork")


def insistent(call, *args):
    """The answer of a call, though the machine be too busy for the lock to come in time."""
    for _ in range(1000):
        try:
            return call(*args)
        except CountersBusyError:
            continue
    raise AssertionError("the lock was never free")


def run_children(target, arguments, *, limit_s=20):
    children = [fork.Process(target=target, args=each) for each in arguments]
    for child in children:
        child.start()
    for child in children:
        child.join(limit_s)
        child.kill()  # nothing where it has ended
        child.join()
    assert [child.exitcode for child in children] == [0] * len(children)


def attempts(make, rules, n, barrier, answers):
    counters = make()
    barrier.wait(10)
    admitted = 0
    for i in range(n):
        found = insistent(counters.reserve, rules, 1, 1, NOW)
        if isinstance(found, Hold):
            admitted += 1
            insistent(counters.settle, found, True, 2, 3, NOW)
            if i % 10 == 0:
                insistent(counters.settle, found, True, 2, 3, NOW)
    answers.put(admitted)


def test_four_processes_admit_exactly_the_limit(kind, make, counters):
    n = 250 if kind == "local" else 100
    narrow, wide = a_rule(max_requests=2 * n), a_rule(max_concurrent=50, max_total_tokens=10**6)
    for rule in (narrow, wide):
        counters.fill(rule, [], NOW)
    barrier, answers = fork.Barrier(4), fork.SimpleQueue()

    # Two by two in opposite orders: locks are taken in one order all the same.
    orders = [[narrow, wide], [wide, narrow]] * 2
    run_children(attempts, [(make, rules, n, barrier, answers) for rules in orders])

    assert sum(answers.get() for _ in range(4)) == 2 * n
    for rule in (narrow, wide):
        standing = counters.standing(rule, NOW)
        assert (standing.requests, standing.tokens, standing.cost) == (2 * n, 4 * n, 6 * n)
        assert (standing.concurrent, standing.held_tokens) == (0, 0)


@pytest.fixture
def slow_to_admit(monkeypatch):
    """Lets other threads run between the look at a limit and the reservation."""

    def slowly(*args):
        limit = refusing(*args)
        time.sleep(0.0002)
        return limit

    monkeypatch.setattr(local_counters, "refusing", slowly)


@pytest.mark.usefixtures("slow_to_admit")
def test_threads_of_one_process_exclude_each_other(tmp_path):
    """A limit of one at a time: each reservation is at the limit, not only a last one."""
    counters, rule = LocalCounters(tmp_path), a_rule(max_concurrent=1)
    counters.fill(rule, [], NOW)
    inside, most, admitted = set(), [], []
    together = threading.Barrier(4)

    def work(name):
        together.wait(10)
        for _ in range(100):
            found = insistent(counters.reserve, [rule], 0, 0, NOW)
            if isinstance(found, Hold):
                inside.add(name)
                time.sleep(0.0002)
                most.append(len(inside))
                admitted.append(name)
                inside.remove(name)
                insistent(counters.settle, found, True, 1, 0, NOW)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    standing = counters.standing(rule, NOW)
    assert max(most) == 1
    assert len(admitted) == standing.requests == standing.tokens
    assert standing.concurrent == 0
    counters.close()


def hold_and_wait(make, rule, ready):
    counters = make()
    for _ in range(3):
        assert isinstance(insistent(counters.reserve, [rule], 10, 10, NOW), Hold)
    ready.set()
    time.sleep(60)


def test_the_holds_of_a_killed_process_go_and_its_requests_stay(make, counters):
    rule = a_rule(max_total_tokens=100, max_concurrent=3)
    counters.fill(rule, [], NOW)
    ready = fork.Event()
    child = fork.Process(target=hold_and_wait, args=(make, rule, ready))
    child.start()
    assert ready.wait(10)
    os.kill(child.pid, signal.SIGKILL)
    child.join(10)

    counters.beat(NOW + 44)
    assert counters.standing(rule, NOW + 44).concurrent == 3
    assert counters.reserve([rule], 1, 0, NOW + 44).limit == "concurrent"
    standing = counters.standing(rule, NOW + 45)
    assert (standing.concurrent, standing.held_tokens, standing.requests) == (0, 0, 3)
    assert isinstance(counters.reserve([rule], 1, 0, NOW + 45), Hold)
    # Whoever settles the dead one's journal: two delivered nothing.
    counters.charge(rule, NOW, -2, 0, 0, NOW + 46)
    assert counters.standing(rule, NOW + 46).requests == 2


def settle_in_child(counters, hold, rule):
    counters.settle(hold, True, 5, 0, NOW)
    counters.beat(NOW + 30)  # not its parent's holds
    assert isinstance(counters.reserve([rule], 1, 0, NOW), Hold)


def test_a_child_has_holds_of_its_own_and_can_settle_its_parent_s(kind, counters):
    if kind == "async redis":
        pytest.skip("an event loop does not outlive a fork")
    rule = a_rule(max_total_tokens=100)
    counters.fill(rule, [], NOW)
    mine, handed = (counters.reserve([rule], 10, 0, NOW) for _ in range(2))

    run_children(settle_in_child, [(counters, handed, rule)])

    standing = counters.standing(rule, NOW)
    assert (standing.requests, standing.tokens, standing.concurrent) == (3, 5, 2)
    counters.beat(NOW + 40)
    assert counters.standing(rule, NOW + 60).concurrent == 1  # the child's has expired
    counters.settle(mine, True, 1, 0, NOW + 60)
    assert counters.standing(rule, NOW + 60).concurrent == 0


def attempts_of_a_child(counters, rule, barrier, answers):
    attempts(lambda: counters, [rule], 300, barrier, answers)


def test_children_do_not_share_the_locks_they_inherit(tmp_path):
    rule, counters = a_rule(max_requests=500), LocalCounters(tmp_path)
    counters.fill(rule, [], NOW)
    assert counters.standing(rule, NOW).requests == 0  # its file is open now
    barrier, answers = fork.Barrier(2), fork.SimpleQueue()

    run_children(attempts_of_a_child, [(counters, rule, barrier, answers)] * 2)

    assert sum(answers.get() for _ in range(2)) == counters.standing(rule, NOW).requests == 500
    assert counters.standing(rule, NOW).tokens == 1000
    counters.close()


def create(folder, rule, barrier):
    counters = LocalCounters(folder)
    barrier.wait(10)
    insistent(lambda: counters.fill(rule, [], NOW, only_missing=True))
    assert isinstance(insistent(counters.reserve, [rule], 0, 0, NOW), Hold)


def test_processes_that_make_the_same_file_agree(tmp_path):
    for _ in range(5):
        rule, barrier = a_rule(), fork.Barrier(4)
        run_children(create, [(tmp_path, rule, barrier)] * 4)
        assert LocalCounters(tmp_path).standing(rule, NOW).requests == 4


def hammer(folder, rule, tally):
    """Counts what it has done in shared memory, each time after the counters."""
    counters = LocalCounters(folder)
    now = NOW
    while True:
        hold = insistent(counters.reserve, [rule], 3, 3, now)
        tally[0] += 1
        insistent(counters.settle, hold, True, 1, 1, now)
        tally[1] += 1
        now += 0.01


def test_a_kill_at_any_moment_loses_nothing_and_blocks_nobody(tmp_path):
    """A long window, in which nothing leaves: all that was ever counted is in the ring."""
    rule = a_rule(86_400 * 30, max_total_tokens=10**12, max_cost=10**12)
    counters = LocalCounters(tmp_path)
    counters.fill(rule, [], NOW)
    done = memoryview(mmap.mmap(-1, 4096)).cast("q")
    chance = random.Random(7)
    for i in range(60):
        children = [
            fork.Process(target=hammer, args=(tmp_path, rule, done[2 * j : 2 * j + 2]))
            for j in range(2)
        ]
        before = done[0] + done[2]
        for child in children:
            child.start()
        while done[0] + done[2] < before + 20:
            time.sleep(0.001)
        time.sleep(chance.random() * 0.005)
        for child in children:
            os.kill(child.pid, signal.SIGKILL)
        for child in children:
            child.join()

        started = time.monotonic()
        standing = counters.standing(rule, NOW)
        assert time.monotonic() - started < 1
        admitted, settled = done[0] + done[2], done[1] + done[3]
        assert (
            0 <= standing.requests - admitted <= 2 * (i + 1)
        )  # counted, and killed before the tally
        assert 0 <= standing.tokens - settled <= 2 * (i + 1)
        assert_sums_agree(tmp_path / f"{rule.id}.quota", rule)
    standing = counters.standing(rule, NOW + 10**4)
    assert (standing.concurrent, standing.held_tokens, standing.held_cost) == (0, 0, 0)


def assert_sums_agree(path, rule):
    file = CounterFile(path, window_of(rule.window_s))
    try:
        contents = file.contents()
        totals = [sum(amount for _, amount in file.column(i)) for i in range(3)]
        assert [contents.requests, contents.tokens, contents.cost] == totals
    finally:
        file.close()


def test_sums_that_a_kill_left_half_changed_are_made_anew(tmp_path):
    rule, counters = a_rule(max_total_tokens=100), LocalCounters(tmp_path)
    counters.fill(rule, [(NOW - 5, 2, 20, 30)], NOW)
    counters.reserve([rule], 7, 0, NOW)
    path = tmp_path / f"{rule.id}.quota"
    whole = counters.standing(rule, NOW)
    with path.open("r+b") as file:
        for cell, value in ((DIRTY, CHANGING), (REQUESTS, 99), (TOKENS, 99)):
            file.seek(8 * cell)
            file.write(struct.pack("=q", value))

    assert counters.standing(rule, NOW) == whole
    assert struct.unpack_from("=q", path.read_bytes(), 8 * DIRTY)[0] == CLEAN
    assert CONTENTS.unpack_from(path.read_bytes(), 8 * REQUESTS)[:3] == (3, 20, 30)
    counters.close()
