"""The call times: counted in plain lists, added up over processes, without harm on a full disk."""

import os
import subprocess
import sys
import textwrap

import pytest

from core import call_times, metric_files

WORKER = """
    import sys
    from prometheus_client import Gauge
    from core import call_times
    Gauge("waiting", "w", ["engine"], multiprocess_mode="livesum", registry=None).labels("m").set(3)
    for seconds in (0.001, 0.002, 700.0):
        call_times.record("/v1/models", "GET", seconds)
    call_times.record("/v1/models", "BREW", 0.5)
    call_times.publish()
    call_times.publish()
    print("written", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "metrics"
    made.mkdir()
    return made


@pytest.fixture
def start(folder):
    """Start a worker that writes what WORKER says and lives until it is ended."""
    started = []

    def make():
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WORKER)],
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "written\n"
        return process

    yield make
    for process in started:
        process.kill()
        process.communicate()


def samples(folder):
    return {
        (s.name, *(s.labels[k] for k in ("method", "le", "engine") if k in s.labels)): s.value
        for family in metric_files.collect(folder)
        for s in family.samples
    }


def test_workers_are_added_up_and_bounds_are_inclusive(folder, start):
    start()
    start()

    found = samples(folder)

    assert found["api_call_bucket", "GET", "0.001"] == 2  # as Prometheus says: less or equal
    assert found["api_call_bucket", "GET", "0.0025"] == 4
    assert found["api_call_bucket", "GET", "600.0"] == 4
    assert found["api_call_bucket", "GET", "+Inf"] == 6
    assert found["api_call_count", "GET"] == 6
    assert found["api_call_sum", "GET"] == pytest.approx(2 * 700.003)


def test_a_method_nobody_knows_is_other(folder, start):
    start()

    assert samples(folder)["api_call_count", "other"] == 1


def test_a_dead_workers_gauges_go_and_its_counts_stay(folder, start):
    first, _second = start(), start()
    assert samples(folder)["waiting", "m"] == 6

    first.kill()
    first.wait()

    assert samples(folder)["waiting", "m"] == 3
    assert samples(folder)["api_call_count", "GET"] == 6


def test_a_folder_may_be_named_by_another_path(folder, start, tmp_path):
    start()
    (tmp_path / "link").symlink_to(folder)

    assert samples(tmp_path / "link")["waiting", "m"] == 3


def test_a_number_used_again_by_another_process_keeps_no_gauge(folder, start):
    process = start()
    (path,) = folder.glob("gauge_livesum_*.db")
    process.kill()
    process.wait()
    path.rename(folder / f"gauge_livesum_{os.getpid()}.db")  # we live, and have it not mapped

    assert ("waiting", "m") not in samples(folder)


def test_at_a_servers_start_only_the_living_keep_their_files(folder, start):
    dead, living = start(), start()
    dead.kill()
    dead.wait()

    metric_files.empty(folder)

    assert {path.stem.rpartition("_")[2] for path in folder.iterdir()} == {str(living.pid)}


def test_files_are_ours_alone_and_their_space_is_there(folder, start):
    start()

    for path in folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.stat().st_blocks * 512 >= path.stat().st_size >= metric_files.RESERVED_BYTES


def test_a_file_that_grows_has_its_space_too(folder):
    file = metric_files.ReservedFile(str(folder / "counter_1.db"))
    for number in range(1000):
        file.write_value(f"{number:0100d}", number, 0.0)
    size = (folder / "counter_1.db").stat()

    assert file.read_value(f"{999:0100d}")[0] == 999
    assert size.st_size > metric_files.RESERVED_BYTES
    assert size.st_blocks * 512 >= size.st_size
    file.close()


def test_a_full_disk_costs_neither_an_answer_nor_a_count(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    call_times.publish()
    with monkeypatch.context() as patch:
        patch.setattr(type(call_times.API_CALL), "labels", full)
        call_times.record("/full", "GET", 1.0)
        call_times.observe("/full", "GET", 1.0)
        call_times.publish()
    call_times.publish()

    child = call_times.API_CALL.labels("GET", "/full")
    assert child._sum.get() == 1.0  # the lane's came later; the slow door's is lost


def test_a_full_disk_is_an_error_and_no_signal(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)

    with pytest.raises(OSError, match="No space"):
        metric_files.ReservedFile(str(folder / "counter_1.db"))
    assert metric_files.collect(folder) == []  # the empty file is passed over
