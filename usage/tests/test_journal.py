"""The journal: what is written survives, what is torn is seen, who is dead is told from who lives."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import orjson
import pytest
import uuid_utils

from core.call import Call
from core.errors import InvalidRequestError
from core.principal import Principal
from usage.journal import table
from usage.journal.lines import FINAL, RESPONSE, decode, encode
from usage.journal.segments import BLOCK_BYTES, Names, is_held, read_from, segments
from usage.journal.writer import FINAL_BYTES, Journal, JournalError
from usage.metering import Meter
from usage.tests.books import admit
from usage.traces.terms import TraceTerms

SEGMENT, BOUND = 256 * 1024, 4 * 1024 * 1024
FIRST, SECOND = (f"0190a000-0000-7000-8000-00000000000{n}" for n in (1, 2))


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
    slot = admit(journal, event_id=FIRST)
    journal.note(slot, table.progress(1, 0, 2, 0, 0, 0, flags=0))
    for i in range(20):
        journal.write({"k": FINAL, "id": str(i), "fill": "x" * 600})

    found = segments(tmp_path)

    assert len(found) > 2
    assert [is_held(path) for path in found] == [False] * (len(found) - 1) + [True]
    for path in found:
        names = Names(path)
        names.read_up_to(path.stat().st_size)
        carried = names.whole(table.left_open(path)[FIRST])
        assert (carried["u"], carried["p"], carried["c"]) == ("u1", 1, 2)
    journal.end(slot, b'{"k":"f","id":"long"}')
    assert table.left_open(found[-1]) == {}
    journal.close()


def test_a_table_that_is_full_grows_and_its_slots_are_used_again(tmp_path):
    journal = Journal(tmp_path)
    ids = [str(uuid_utils.uuid7()) for _ in range(3 * table.SLOTS)]
    slots = [admit(journal, event_id=each) for each in ids]
    assert len(set(slots)) == len(ids)
    assert len(segments(tmp_path)) == 3  # of 256, 512 and 1024 slots
    assert list(table.left_open(segments(tmp_path)[-1])) == ids

    for slot in slots[:-1]:
        journal.end(slot, b'{"k":"f"}')
    assert list(table.left_open(segments(tmp_path)[-1])) == ids[-1:]
    again = [admit(journal) for _ in range(4 * table.SLOTS - 1)]

    assert set(slots[:-1]) < set(again)
    assert slots[-1] not in again
    assert len(segments(tmp_path)) == 3
    journal.close()


def test_a_slot_holds_what_the_caller_gave_and_counts_of_any_size(tmp_path):
    journal = Journal(tmp_path)
    slot = admit(journal, event_id=FIRST, cid="x" * 128)
    journal.note(slot, table.progress(2**40, 0, 2**32 - 1, 7, 6, 5, flags=table.STREAMED))
    other = admit(journal, event_id=SECOND)
    journal.end(slot, b'{"k":"f"}')
    after = admit(journal, event_id=FIRST, cid="y")

    found = table.left_open(segments(tmp_path)[0])

    assert after == slot != other
    assert found[FIRST] == {"id": FIRST, "w": 1, "cid": "y"}  # nothing of whom it was before
    journal.note(after, table.progress(2**40, 0, 2**32 - 1, 7, 6, 5, flags=table.STREAMED))
    noted = table.left_open(segments(tmp_path)[0])[FIRST]
    assert (noted["p"], noted["c"], noted["sse"]) == (2**32 - 1, 2**32 - 1, True)
    assert (noted["d"], noted["q"], "tt" in noted) == (7, 5, False)
    journal.close()
    journal.note(other, b"")
    with pytest.raises(JournalError):
        journal.end(other, b"{}")


def test_what_was_written_before_a_kill_is_there_and_its_segment_is_free(tmp_path):
    program = (
        "import os, signal, sys, pathlib; from usage.journal.writer import Journal;"
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
        Journal(blocker).write({"k": FINAL, "id": "1"})


def no_space(*_arguments):
    raise OSError(28, "No space left on device")


def test_a_full_disk_refuses_what_is_new_and_settles_what_is_open(tmp_path, monkeypatch):
    """S-53: whatever was admitted has its room, also when no further segment can be made."""
    monkeypatch.setattr(os, "posix_fallocate", no_space)
    with pytest.raises(JournalError):
        admit(Journal(tmp_path))
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()

    journal, admitted = Journal(tmp_path, segment_bytes=100_000), []
    first = admit(journal)
    monkeypatch.setattr(os, "posix_fallocate", no_space)

    def admit_until_full():
        admitted.extend(admit(journal) for _ in range(1000))

    with pytest.raises(JournalError):
        admit_until_full()
    assert len(admitted) > 20
    for i, slot in enumerate(admitted):
        body = orjson.dumps({"k": FINAL, "id": str(i)})
        journal.end(slot, body[:-1].ljust(FINAL_BYTES - 13) + b"}")  # as long as it gets
    monkeypatch.undo()
    journal.end(first, b'{"k":"f","id":"first"}')

    records = everything(tmp_path)
    assert None not in records
    ended = [r["id"] for r in records if r["k"] == FINAL]
    assert ended == [*map(str, range(len(admitted))), "first"]


def test_the_longest_last_record_fits_the_room_that_is_kept_for_it(tmp_path):
    """Each count at its most, and a correlation id that doubles when it is written as JSON."""
    given = {b"x-correlation-id": b'"' * 128}
    call = Call(method="POST", path="/", query=b"", headers=given, receive=None, client="")
    call.principal = Principal("u", "n", "e", "user", "web")
    call.queue_s = 10.0**9
    call.started -= 10.0**9
    meter = Meter(Journal(tmp_path))
    meter.traces = TraceTerms()
    event = meter.admit(call, endpoint="e", model="m", served_model="m")
    event.sent_at = event.engine_status = 10**18
    call.body_bytes = 2**53
    event.streamed = event.estimated = True
    event.deliver()
    event.tokens(2**63, 2**63, 2**63)
    event.settle(400, error=InvalidRequestError('"' * 290))

    lines = segments(tmp_path)[0].read_bytes().splitlines()
    (last,) = [line for line in lines if b'"k":"f"' in line]
    assert 1400 > len(last) > 1200
    assert len(last) < FINAL_BYTES
    assert decode(last)["cid"] == '"' * 128


def written_until_full(folder, spare):
    """How many requests a journal of a bound takes, each with a record that may be left out, and of those."""
    journal = Journal(folder, segment_bytes=SEGMENT, limit_bytes=BOUND)
    requests = spares = 0
    with suppress(JournalError):
        while requests < 10_000:
            slot = admit(journal)
            with suppress(JournalError):
                if spare:
                    journal.add_spare(spare)
                    spares += 1
            journal.end(slot, b'{"k":"f","w":1,"fill":"%b"}' % (b"x" * 600))
            requests += 1
    return requests, spares


def test_what_may_be_left_out_takes_half_of_the_bound_at_most(tmp_path):
    """Bodies of traces (R-11): the other half is usage's, whoever opened a segment in it."""
    spare = orjson.dumps({"k": "t", "fill": "x" * 20_000})

    alone, _ = written_until_full(tmp_path / "alone", b"")
    requests, spares = written_until_full(tmp_path / "both", spare)

    assert 10 < spares <= BOUND / 2 / len(spare)
    assert requests > alone * 0.4


def test_what_was_left_out_is_taken_again_once_the_journal_was_drained(tmp_path):
    spare = orjson.dumps({"k": "t", "fill": "x" * 20_000})
    journal = Journal(tmp_path, segment_bytes=SEGMENT, limit_bytes=BOUND)
    while len(segments(tmp_path)) < 10:
        journal.end(admit(journal), b'{"k":"f","w":1,"fill":"%b"}' % (b"x" * 600))
    with pytest.raises(JournalError):
        journal.add_spare(spare)
    for path in segments(tmp_path)[:-1]:
        path.unlink()

    journal.add_spare(spare)

    assert everything(tmp_path)[-1]["k"] == "t"
    journal.close()


def test_a_record_that_may_be_left_out_begins_a_segment_that_knows_what_is_open(tmp_path):
    journal = Journal(tmp_path, segment_bytes=SEGMENT)
    slot = admit(journal, event_id=FIRST)
    for _ in range(20):
        journal.add_spare(orjson.dumps({"k": "t", "fill": "x" * 20_000}))
    journal.end(slot, b'{"k":"f","w":1,"id":"%b"}' % FIRST.encode())

    *_, last = segments(tmp_path)
    names = Names(last)
    names.read_up_to(last.stat().st_size)
    (ended,) = (each for each in read_from(last, 0, limit=100)[0] if each["k"] == FINAL)

    assert len(segments(tmp_path)) > 1
    assert names.whole(ended)["u"] == "u1"
    journal.close()


def test_a_record_larger_than_a_segment_gets_a_larger_segment(tmp_path):
    journal = Journal(tmp_path, segment_bytes=300)
    admit(journal, event_id=FIRST)
    journal.write({"k": RESPONSE, "id": "2", "body": "x" * 2 * BLOCK_BYTES})

    (path,) = segments(tmp_path)[1:]

    assert [r["id"] for r in read_from(path, 0, limit=10)[0] if r["k"] == RESPONSE] == ["2"]
    assert list(table.left_open(path)) == [FIRST]


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
        "import sys, pathlib; from usage.journal.writer import Journal;"
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
