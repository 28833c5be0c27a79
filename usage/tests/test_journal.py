"""The journal: what is written survives, what is torn is seen, who is dead is told from who lives."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from usage.journal import (
    BLOCK_BYTES,
    FINAL,
    OPEN,
    RESPONSE,
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
    journal = Journal(tmp_path, segment_bytes=300)  # a page is the least there is
    journal.write({"k": OPEN, "id": "long"})
    for i in range(20):
        journal.write({"k": FINAL, "id": str(i), "fill": "x" * 600})

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


def no_space(*_arguments):
    raise OSError(28, "No space left on device")


def test_a_full_disk_refuses_what_is_new_and_settles_what_is_open(tmp_path, monkeypatch):
    """S-53: whatever was admitted has its room, also when no further segment can be made."""
    monkeypatch.setattr(os, "posix_fallocate", no_space)
    with pytest.raises(JournalError):
        Journal(tmp_path).write({"k": OPEN, "id": "0"})
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()

    journal, admitted = Journal(tmp_path, segment_bytes=20_000), []
    journal.write({"k": OPEN, "id": "first"})
    monkeypatch.setattr(os, "posix_fallocate", no_space)

    def admit_until_full():
        for i in range(1000):
            journal.write({"k": OPEN, "id": str(i), "fill": "x" * 100})
            admitted.append(str(i))

    with pytest.raises(JournalError):
        admit_until_full()
    assert len(admitted) > 20
    for event_id in admitted:
        journal.write({"k": FINAL, "id": event_id, "fill": "x" * 300})
    monkeypatch.undo()
    journal.write({"k": OPEN, "id": "after"})

    records = everything(tmp_path)
    assert None not in records
    assert [r["id"] for r in records if r["k"] == FINAL] == admitted
    assert [records[0]["id"], records[-1]["id"]] == ["first", "after"]


def test_a_record_larger_than_a_segment_gets_a_larger_segment(tmp_path):
    journal = Journal(tmp_path, segment_bytes=300)
    journal.write({"k": OPEN, "id": "1"})
    journal.write({"k": RESPONSE, "id": "2", "body": "x" * 2 * BLOCK_BYTES})

    last = read_from(segments(tmp_path)[-1], 0, limit=10)[0]

    assert [r["id"] for r in last] == ["1", "2"]


def test_a_line_still_under_the_writers_hands_is_left_and_a_spoilt_one_is_not(tmp_path):
    path = tmp_path / "x.journal"
    lines = [encode({"k": FINAL, "id": str(i)}) for i in range(3)]
    half = lines[1][:12] + b"\0" * (len(lines[1]) - 13) + b"\n"
    reserved = b"\0" * 3 * BLOCK_BYTES

    path.write_bytes(lines[0] + half + reserved)
    records, offset = read_from(path, 0, limit=10, held=True)
    assert [r["id"] for r in records] == ["0"]
    assert offset == len(lines[0])

    path.write_bytes(lines[0] + half + lines[2] + reserved)
    assert [r and r["id"] for r in read_from(path, 0, limit=10, held=True)[0]] == ["0"]
    path.write_bytes(half + lines[2] + reserved)
    assert read_from(path, 0, limit=10, held=True) == ([], 0)
    path.write_bytes(lines[0] + half + reserved)
    assert [r and r["id"] for r in read_from(path, 0, limit=10)[0]] == ["0", None]


def test_a_reader_beside_the_writer_sees_every_record_once_and_whole(tmp_path):
    program = (
        "import sys, pathlib; from usage.journal import Journal;"
        "j = Journal(pathlib.Path(sys.argv[1]), segment_bytes=200_000);"
        "[j.write({'k': 'f', 'id': str(i), 'fill': 'x' * (i % 700)}) for i in range(20_000)];"
        "print('done', flush=True); sys.stdin.read()"
    )
    root = Path(__file__).parent.parent.parent
    command = [sys.executable, "-c", program, str(tmp_path)]
    seen, offsets = [], {}
    with subprocess.Popen(
        command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        deadline = time.monotonic() + 60
        while len(seen) < 20_000 and time.monotonic() < deadline:
            for path in segments(tmp_path):
                records, offsets[path] = read_from(
                    path, offsets.get(path, 0), limit=500, held=is_held(path)
                )
                seen += [r["id"] for r in records if r["k"] == FINAL]
        assert writer.stdout.readline() == b"done\n"
        writer.stdin.close()

    assert sorted(seen, key=int) == [str(i) for i in range(20_000)]
