"""The files themselves: what counts as missing, how long anybody waits, how many are open."""

import fcntl
import os
import struct
import time
from pathlib import Path

import pytest

from usage.quotas import local_counters
from usage.quotas.counter_layout import DIRTY, FILLING, PROCESSES, SIZE
from usage.quotas.local_counters import FILES_OPEN, LocalCounters
from usage.quotas.terms import CountersAwayError, CountersBusyError, CountersMissingError, Hold
from usage.tests.quotas.conftest import a_rule

NOW = 1_800_000_000.0


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "quotas"


@pytest.fixture
def counters(folder):
    made = LocalCounters(folder)
    yield made
    made.close()


@pytest.fixture
def rule(counters):
    made = a_rule(max_requests=100)
    counters.fill(made, [], NOW)
    return made


@pytest.fixture(params=["open", "closed"])
def held_open(request, counters, rule):
    """Whether this process has the rule's file open before something happens to it."""
    counters.reserve([rule], 0, 0, NOW)
    if request.param == "closed":
        counters.close()


@pytest.fixture
def path(folder, rule):
    return folder / f"{rule.id}.quota"


def change(path, offset, data):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"junk"),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes() + b"x"),
        lambda path: path.write_bytes(os.urandom(SIZE)),
        lambda path: change(path, 7, b"2"),  # another version
        lambda path: change(path, 8, struct.pack("=q", 7)),  # another window
        lambda path: change(path, 8 * DIRTY, struct.pack("=q", FILLING)),
        lambda path: path.unlink(),
    ],
)
@pytest.mark.usefixtures("held_open")
def test_a_spoilt_file_counts_as_missing_and_can_be_filled(counters, rule, path, spoil):
    spoil(path)

    assert not counters.exists(rule)
    with pytest.raises(CountersMissingError):
        counters.standing(rule, NOW)
    with pytest.raises(CountersMissingError):
        counters.reserve([rule], 0, 0, NOW)
    counters.fill(rule, [(NOW, 5, 0, 0)], NOW)
    assert LocalCounters(path.parent).standing(rule, NOW).requests >= 5
    assert isinstance(counters.reserve([rule], 0, 0, NOW), Hold)


def test_an_unfinished_filling_is_finished_with_the_live_holds_kept(counters, rule, path):
    counters.reserve([rule], 0, 0, NOW)
    change(path, 8 * DIRTY, struct.pack("=q", FILLING))

    counters.fill(rule, [(NOW, 5, 0, 0)], NOW, only_missing=True)

    standing = counters.standing(rule, NOW)
    assert (standing.requests, standing.concurrent) == (6, 1)


def test_a_file_is_private_and_leaves_no_draft(folder, rule, path):
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o077 == 0
    assert sorted(each.name for each in folder.iterdir()) == [".making", path.name]


def test_who_has_a_file_open_that_was_removed_counts_in_the_new_one(counters, rule, path):
    """Else each worker that had it open would let through a whole limit of its own."""
    other = LocalCounters(path.parent)
    for each in (counters, other):
        assert isinstance(each.reserve([rule], 0, 0, NOW), Hold)
    path.unlink()
    other.fill(rule, [(NOW, 5, 0, 0)], NOW, only_missing=True)

    assert isinstance(counters.reserve([rule], 0, 0, NOW), Hold)

    assert other.standing(rule, NOW).requests == 6
    other.close()


def test_nobody_waits_longer_than_a_moment_for_a_lock(counters, rule, path):
    free = a_rule()
    counters.fill(free, [], NOW)
    with path.open("r+b") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        for call, least_s, most_s in (
            (lambda: counters.reserve([free, rule], 0, 0, NOW), 0.01, 0.2),
            (lambda: counters.standing(rule, NOW), 1, 2),
        ):
            started = time.monotonic()
            with pytest.raises(CountersBusyError):
                call()
            assert least_s <= time.monotonic() - started < most_s
        assert counters.exists(rule)  # which does not have to wait
    assert counters.standing(rule, NOW).requests == 0
    assert LocalCounters(path.parent).standing(free, NOW).requests == 0  # and is not locked


def test_a_settlement_that_had_to_wait_too_long_can_be_tried_again(counters, rule, path):
    hold = counters.reserve([rule], 0, 0, NOW)
    with path.open("r+b") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(CountersAwayError):
            counters.settle(hold, True, 5, 0, NOW)
    assert not hold.settled

    counters.settle(hold, True, 5, 0, NOW)

    assert counters.standing(rule, NOW).tokens == 5


def test_a_beat_reaches_the_others_where_one_is_locked(counters, rule, path):
    free = a_rule()
    counters.fill(free, [], NOW)
    for each in (rule, free):
        counters.reserve([each], 0, 0, NOW)
    with path.open("r+b") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(CountersAwayError):
            counters.beat(NOW + 40)

    assert counters.standing(free, NOW + 60).concurrent == 1


def test_only_so_many_files_are_open_and_holds_outlive_that(counters, monkeypatch):
    monkeypatch.setattr(local_counters, "FILES_OPEN", 4)
    rules = [a_rule() for _ in range(12)]
    for each in rules:
        counters.fill(each, [], NOW)
        counters.reserve([each], 0, 0, NOW)
        assert len(counters._files) <= 5
    counters.beat(NOW + 40)
    for each in rules:
        counters.reserve([each], 0, 0, NOW + 60)

    assert {counters.standing(each, NOW + 60).concurrent for each in rules} == {2}
    assert FILES_OPEN == 256


def test_entries_of_the_dead_are_used_again(counters, folder, rule):
    """More processes than there is room for, one after another."""
    for i in range(PROCESSES + 10):
        process = LocalCounters(folder)
        now = NOW + i
        assert isinstance(process.reserve([rule], 0, 0, now), Hold) == (i < 100)
        process.close()
    assert counters.standing(rule, NOW + PROCESSES).concurrent == 0


def test_more_processes_than_there_is_room_for_are_refused(counters, folder):
    rule = a_rule()
    counters.fill(rule, [], NOW)
    holds = []
    for _ in range(PROCESSES):
        process = LocalCounters(folder)
        holds.append((process, process.reserve([rule], 0, 0, NOW)))
        process.close()

    with pytest.raises(CountersAwayError):
        counters.reserve([rule], 0, 0, NOW)
    assert counters.standing(rule, NOW).requests == PROCESSES
    process, hold = holds[7]
    process.settle(hold, True, 0, 0, NOW)
    assert isinstance(counters.reserve([rule], 0, 0, NOW), Hold)
    process.close()


def test_a_folder_that_cannot_be_written_is_an_error_of_ours(counters, folder):
    folder.rename(folder.with_name("gone"))

    with pytest.raises(CountersAwayError):
        counters.fill(a_rule(), [], NOW)


def test_more_rules_than_files_may_be_open(tmp_path):
    """However many rules there are, a process keeps a bounded number of descriptors."""
    counters = LocalCounters(tmp_path)
    rules = [a_rule(max_requests=5) for _ in range(FILES_OPEN + 60)]
    before = len(list(Path("/proc/self/fd").iterdir()))
    for rule in rules:
        counters.fill(rule, [], NOW)
        assert counters.exists(rule)
        counters.reserve([rule], 1, 0, NOW)

    opened = len(list(Path("/proc/self/fd").iterdir())) - before
    counters.close()
    assert opened <= 2 * FILES_OPEN + 4
