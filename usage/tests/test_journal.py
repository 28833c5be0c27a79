"""The journal: what is written survives, what is torn is seen, who is dead is told from who lives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from usage.journal import (
    FINAL,
    OPEN,
    Journal,
    JournalError,
    decode,
    encode,
    is_held,
    read_from,
    segments,
)


def everything(folder):
    return [record for path in segments(folder) for record in read_from(path, 0, limit=10_000)[0]]


def test_a_record_comes_back_as_it_went():
    record = {"k": FINAL, "id": "x", "name": "Ünï\n", "p": 2**40}

    assert decode(encode(record)[:-1]) == record


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b[:-2],
        lambda b: b.replace(b'"p":1', b'"p":2'),
        lambda b: b"2" + b[1:],
        lambda b: b"",
        lambda b: b"1 zz x",
    ],
)
def test_a_torn_or_changed_record_is_not_taken(change):
    assert decode(change(encode({"k": FINAL, "p": 1})[:-1])) is None


def test_a_line_without_its_end_is_left_for_the_next_time(tmp_path):
    path = tmp_path / "x.journal"
    whole, torn = encode({"k": FINAL, "id": "1"}), encode({"k": FINAL, "id": "2"})
    path.write_bytes(whole + torn[:10])

    records, offset = read_from(path, 0, limit=10)

    assert [record["id"] for record in records] == ["1"]
    assert offset == len(whole)
    path.write_bytes(whole + torn)
    assert [record["id"] for record in read_from(path, offset, limit=10)[0]] == ["2"]


def test_rotation_carries_what_is_still_open(tmp_path):
    journal = Journal(tmp_path, segment_bytes=300)
    journal.write({"k": OPEN, "id": "long"})
    for i in range(20):
        journal.write({"k": FINAL, "id": str(i)})

    found = segments(tmp_path)

    assert len(found) > 2
    assert [is_held(path) for path in found] == [False] * (len(found) - 1) + [True]
    last = read_from(found[-1], 0, limit=10)[0]
    assert last[0] == {"k": OPEN, "id": "long"}
    journal.close()


def test_what_was_written_before_a_kill_is_there_and_its_segment_is_free(tmp_path):
    program = (
        "import os, signal, sys, pathlib; from usage.journal import Journal;"
        "j = Journal(pathlib.Path(sys.argv[1])); j.write({'k': 'f', 'id': 'last'});"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    root = Path(__file__).parent.parent.parent
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=root)

    assert done.returncode == -9
    assert everything(tmp_path) == [{"k": "f", "id": "last"}]
    assert not is_held(segments(tmp_path)[0])


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    blocker = tmp_path / "journal"
    blocker.write_text("a file, not a folder")

    with pytest.raises(JournalError):
        Journal(blocker).write({"k": OPEN, "id": "1"})


def test_a_full_disk_is_an_error_and_leaves_no_half_record(tmp_path, monkeypatch):
    journal = Journal(tmp_path)
    journal.write({"k": FINAL, "id": "1"})
    real = os.write
    monkeypatch.setattr(
        os, "write", lambda fd, data: real(fd, data[:5]) if len(data) > 5 else real(fd, data)
    )

    with pytest.raises(JournalError):
        journal.write({"k": FINAL, "id": "2"})

    monkeypatch.undo()
    journal.write({"k": FINAL, "id": "3"})
    assert [record and record["id"] for record in everything(tmp_path)] == ["1", None, "3"]


def test_what_is_written_once_there_is_room_again_is_whole(tmp_path, monkeypatch):
    journal, real = Journal(tmp_path), os.write
    journal.write({"k": FINAL, "id": "1"})

    def nearly_full(fd, data):
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return real(fd, data[:15])

    monkeypatch.setattr(os, "write", nearly_full)
    for _ in range(2):
        with pytest.raises(JournalError):
            journal.write({"k": FINAL, "id": "2"})
    monkeypatch.undo()
    journal.write({"k": FINAL, "id": "3"})

    assert [r["id"] for r in everything(tmp_path) if r] == ["1", "3"]
