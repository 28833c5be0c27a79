"""An engine's log on disk: numbers without gaps, bounds, clearing, what a reader may rely on."""

import shutil
import sys
import threading
import time

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference import log_files
from inference.engine_output import EngineOutput, split
from inference.guarded import Guarded
from inference.log_files import (
    Cursor,
    FellBehindError,
    LogWriter,
    clear,
    last_lines,
    log_folder,
    logged_models,
    newest,
    segments,
)


def written(n, *, first=1, text="line"):
    return [("2026-11-26T01:02:03Z", "stdout", f"{text} {i}") for i in range(first, first + n)]


def seqs(lines):
    return [orjson.loads(line)["seq"] for line in lines]


@pytest.fixture
def small(monkeypatch):
    """Segments of a few lines."""
    monkeypatch.setattr(log_files, "SEGMENT_BYTES", 500)
    monkeypatch.setattr(log_files, "MAX_SEGMENTS", 4)


def test_r23_lines_are_numbered_and_go_on_over_a_restart(tmp_path):
    LogWriter(tmp_path, "m").write(written(3))
    LogWriter(tmp_path, "m").write(written(2, first=4))

    lines = [orjson.loads(line) for line in last_lines(tmp_path)]

    assert [line["seq"] for line in lines] == [1, 2, 3, 4, 5]
    assert [line["text"] for line in lines] == [f"line {i}" for i in range(1, 6)]
    assert set(lines[0]) == {"timestamp", "stream", "text", "seq"}


def test_r13_the_last_thousand_lines_and_after_a_number_the_first_thousand(tmp_path):
    LogWriter(tmp_path, "m").write(written(2500))

    assert seqs(last_lines(tmp_path)) == list(range(1501, 2501))
    assert seqs(last_lines(tmp_path, 100)) == list(range(101, 1101))
    assert seqs(last_lines(tmp_path, 2499)) == [2500]
    assert last_lines(tmp_path, 2500) == []
    assert seqs(last_lines(tmp_path, 0)) == list(range(1, 1001))


def test_a_number_ahead_of_the_log_is_of_another_log(tmp_path):
    LogWriter(tmp_path, "m").write(written(3))

    assert seqs(last_lines(tmp_path, 5000)) == [1, 2, 3]


def test_r13_the_log_is_bounded_and_keeps_its_end(tmp_path, small):
    writer = LogWriter(tmp_path, "m")
    for i in range(1, 200):
        writer.write(written(1, first=i))

    assert len(segments(tmp_path)) == 4
    assert sum(path.stat().st_size for _, path in segments(tmp_path)) < 4 * 700
    found = seqs(last_lines(tmp_path))
    assert found == list(range(found[0], 200))
    assert found[0] > 150
    assert seqs(last_lines(tmp_path, 3)) == found  # what it wants is gone: from the oldest on


def test_r13_clearing_takes_the_lines_out_and_the_numbers_go_on(tmp_path, small):
    writer = LogWriter(tmp_path, "m")
    writer.write(written(20, text="secret"))

    clear(tmp_path)

    assert last_lines(tmp_path) == []
    assert b"secret" not in b"".join(path.read_bytes() for _, path in segments(tmp_path))
    writer.write(written(1, first=21))
    assert seqs(last_lines(tmp_path)) == [21]
    clear(tmp_path)
    clear(tmp_path)
    assert newest(tmp_path) == 21


def test_clearing_a_log_that_is_not_there_makes_none(tmp_path):
    clear(tmp_path / "nothing")

    assert not (tmp_path / "nothing").exists()


def test_half_a_line_of_a_killed_writer_is_taken_out(tmp_path):
    LogWriter(tmp_path, "m").write(written(2))
    _, path = segments(tmp_path)[-1]
    with path.open("ab") as file:
        file.write(b'{"timestamp":"2026')
    assert seqs(last_lines(tmp_path)) == [1, 2]

    LogWriter(tmp_path, "m").write(written(1, first=3))

    assert seqs(last_lines(tmp_path)) == [1, 2, 3]


def test_a_full_disk_leaves_no_half_line(tmp_path, monkeypatch):
    writer = LogWriter(tmp_path, "m")
    writer.write(written(1))
    real = log_files.os.write
    monkeypatch.setattr(log_files.os, "write", lambda fd, raw: real(fd, raw[:10]))
    with pytest.raises(OSError, match="space"):
        writer.write(written(1, first=2))
    monkeypatch.undo()

    writer.write(written(1, first=2))

    assert seqs(last_lines(tmp_path)) == [1, 2]


def test_no_credential_gets_into_a_log(tmp_path):
    key = "lai-" + "0123456789abcdef" * 4
    LogWriter(tmp_path, "m").write([("t", "stderr", f"got {key} and Bearer abc.def.ghi")])

    (line,) = last_lines(tmp_path)

    assert key.encode() not in line
    assert b"abc.def" not in line


def test_names_with_slashes_and_long_ones_have_logs_of_their_own(tmp_path):
    names = ["org/model", "org%2Fmodel", "..", "é" * 255, "m", "M"]
    for name in names:
        LogWriter(log_folder(tmp_path, name), name).write(written(1))

    assert logged_models(tmp_path) == sorted(names)
    assert len({log_folder(tmp_path, name) for name in names}) == len(names)


def test_a_reader_that_is_too_slow_is_told(tmp_path, small):
    writer = LogWriter(tmp_path, "m")
    writer.write(written(2))
    cursor = Cursor(tmp_path)
    assert seqs(cursor.read()) == [1, 2]
    for i in range(3, 100):
        writer.write(written(1, first=i))

    def read_on():
        while cursor.read():
            pass

    with pytest.raises(FellBehindError):
        read_on()


def test_a_reader_of_a_log_that_began_anew_is_told(tmp_path):
    LogWriter(tmp_path / "m", "m").write(written(3))
    cursor = Cursor(tmp_path / "m", None)
    assert len(cursor.read()) == 3
    shutil.rmtree(tmp_path / "m")  # its model was deleted
    assert cursor.read() == []
    LogWriter(tmp_path / "m", "m").write(written(1))
    with pytest.raises(FellBehindError):
        cursor.read()
    cursor.close()


def test_a_closed_reader_reads_nothing_and_opens_nothing(tmp_path):
    LogWriter(tmp_path, "m").write(written(2))
    cursor = Cursor(tmp_path)

    cursor.close()

    assert cursor.read() == []


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 30)),
        st.tuples(st.just("clear"), st.just(0)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("read"), st.integers(1, 40)),
        st.tuples(st.just("reconnect"), st.just(0)),
    ),
    max_size=40,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(STEPS)
def test_r23_a_reader_gets_each_line_once_and_in_order(tmp_path_factory, steps):
    """Whatever happens between its reads, but for lines that were cleared before it came to them."""
    folder = tmp_path_factory.mktemp("log")
    before = log_files.SEGMENT_BYTES
    log_files.SEGMENT_BYTES = 700
    try:
        writer, cursor, got, n, cleared = LogWriter(folder, "m"), Cursor(folder, 0), [], 0, 0
        for step, number in [*steps, ("read", 10_000), ("read", 10_000)]:
            if step == "write":
                writer.write(written(number, first=n + 1))
                n += number
            elif step == "clear":
                clear(folder)
                cleared = n
            elif step == "restart":
                writer.close()
                writer = LogWriter(folder, "m")
            elif step == "reconnect":
                cursor.close()
                cursor = Cursor(folder, got[-1] if got else 0)
            else:
                try:
                    while more := cursor.read(number):
                        got += seqs(more)
                except FellBehindError:
                    cursor = Cursor(folder, got[-1] if got else 0)
                    got += seqs(cursor.read(number))
        while more := cursor.read():
            got += seqs(more)
        assert got == sorted(set(got))
        missing = set(range(1, n + 1)) - set(got)
        assert all(seq <= cleared for seq in missing)
    finally:
        log_files.SEGMENT_BYTES = before
        cursor.close()
        writer.close()


def test_r23_a_reader_beside_a_writer_loses_and_doubles_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(log_files, "SEGMENT_BYTES", 2000)
    monkeypatch.setattr(log_files, "MAX_SEGMENTS", 1000)
    writer, cursor, got = LogWriter(tmp_path, "m"), Cursor(tmp_path, 0), []

    def write():
        for i in range(1, 2001, 4):
            writer.write(written(4, first=i))

    thread = threading.Thread(target=write)
    thread.start()
    deadline = time.monotonic() + 20
    while len(got) < 2000 and time.monotonic() < deadline:
        if cursor.has_news():
            got += seqs(cursor.read(7))
    thread.join()

    assert got == list(range(1, 2001))


def test_lines_are_split_and_endless_ones_cut():
    assert split(b"one\ntwo\r\nthr", ended=False) == (["one", "two"], b"thr")
    assert split(b"thr", ended=True) == (["thr"], b"")
    assert split(b" 10%\r 50%\r100%\n", ended=False) == (["100%"], b"")
    assert split(b"\xff\n", ended=False) == (["�"], b"")
    texts, left = split(b"x" * 70_000, ended=False)
    assert (len(texts[0]), left) == (70_000, b"")


TALKS = """
import shutil
import sys
for i in range(300):
    print(f"out {i}", flush=True)
    print(f"err {i}", file=sys.stderr, flush=True)
sys.stdout.write("the end")
"""


def test_r13_both_streams_are_told_apart_and_each_keeps_its_order(tmp_path):
    output = EngineOutput(LogWriter(tmp_path, "m"))
    guarded = Guarded([sys.executable, "-c", TALKS], environment={}, log=output)
    while guarded.exit_status() is None:
        time.sleep(0.02)

    assert guarded.last_lines()[-1] in {"the end", "err 299"}
    lines = [orjson.loads(line) for line in last_lines(tmp_path)]
    by_stream = {
        name: [x["text"] for x in lines if x["stream"] == name] for name in ("stdout", "stderr")
    }
    assert by_stream["stdout"] == [*(f"out {i}" for i in range(300)), "the end"]
    assert by_stream["stderr"] == [f"err {i}" for i in range(300)]
    guarded.stop()
