"""Names are said once a segment and referred to by number: also over rotation, kills and reading from the middle."""

import os

import pytest

from usage import drain
from usage.journal import writer
from usage.journal.lines import FINAL, NAMES
from usage.journal.segments import Names, read_from, segments
from usage.journal.table import left_open
from usage.journal.writer import Journal, JournalError
from usage.models import UsageEvent, UsageSeries
from usage.tests.books import record

WHO = b'"u":"u1","un":"Bob","s":"web","ki":null,"kn":null,"m":"%b","sm":"m","e":"/v1/completions"}'


def event_id(number):
    return f"0190a000-0000-7000-8000-{number:012d}"


def begin(made, number, model=b"m"):
    """The slot, and the last record."""
    named = made.named(WHO % model)
    slot = made.open(event_id(number).encode(), named)
    last = b'{"k":"f","p":1,"c":2,"st":200,"n":true,"id":"%b","w":%d}'
    return slot, last % (event_id(number).encode(), named.number)


def write(made, number, model=b"m"):
    made.end(*begin(made, number, model))


def whole(path):
    """The final records of a segment, with their names."""
    names, found = Names(path), []
    for each in read_from(path, 0, limit=100_000)[0]:
        names.take(each)
        if each["k"] == FINAL:
            found.append(names.whole(each))
    return found


def kinds(path):
    return [each["k"] for each in read_from(path, 0, limit=100_000)[0]]


def test_a_segment_says_each_name_once(tmp_path):
    made = Journal(tmp_path)
    for number in range(50):
        write(made, number, b"a" if number % 2 else b"b")

    (path,) = segments(tmp_path)
    assert kinds(path).count(NAMES) == 2
    assert [each["m"] for each in whole(path)] == ["b", "a"] * 25
    assert whole(path)[0]["un"] == "Bob"
    made.close()


def test_every_segment_says_the_names_of_its_own_records_and_of_what_it_carries(tmp_path):
    made = Journal(tmp_path, segment_bytes=4096)
    begun = begin(made, 0, b"long")
    for number in range(1, 300):
        write(made, number, b"m%d" % (number % 3))
    made.end(*begun)

    found = segments(tmp_path)
    assert len(found) > 3
    ended = [each for path in found for each in whole(path)]
    assert len(ended) == 300
    assert {each["id"]: each["m"] for each in ended} == {
        event_id(n): "long" if n == 0 else f"m{n % 3}" for n in range(300)
    }
    for path in found:  # what is open is named wherever it is carried to
        names = Names(path)
        names.read_up_to(path.stat().st_size)
        assert all("m" in names.whole(each) for each in left_open(path).values())
    made.close()


def test_more_callers_than_are_kept_a_number_for(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "MAX_NAMES", 10)
    made = Journal(tmp_path)
    begun = begin(made, 0, b"first")
    for number in range(1, 100):
        write(made, number, b"m%d" % number)
    made.end(*begun)

    found = {each["id"]: each["m"] for path in segments(tmp_path) for each in whole(path)}
    assert found == {event_id(n): "first" if n == 0 else f"m{n}" for n in range(100)}
    assert len(made._named) <= 10
    made.close()


def test_what_is_admitted_can_be_ended_on_a_full_disk_whatever_became_of_its_number(
    tmp_path, monkeypatch
):
    """S-53: the last record needs no name that was not said with the first."""
    monkeypatch.setattr(writer, "MAX_NAMES", 4)
    made = Journal(tmp_path, segment_bytes=65_536)
    begun = [begin(made, 0, b"first")]

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)

    def fill():
        begun.extend(begin(made, number, b"m%d" % number) for number in range(1, 1000))

    with pytest.raises(JournalError):
        fill()
    assert len(begun) > 5
    for each in begun:
        made.end(*each)

    (path,) = segments(tmp_path)
    assert [each["id"] for each in whole(path)] == [event_id(n) for n in range(len(begun))]
    assert all("m" in each for each in whole(path))
    made.close()


@pytest.mark.django_db(transaction=True)
def test_a_drain_that_begins_in_the_middle_knows_the_names(folder):
    made = Journal(folder)
    for number in range(5):
        write(made, number)
    drain.drain()
    drain._NAMES_OF.clear()  # as in another process
    for number in range(5, 9):
        write(made, number)
    begin(made, 9)

    drain.drain()
    made.close()  # its lock goes as with a kill
    drain._NAMES_OF.clear()
    drain.drain()

    assert UsageEvent.objects.count() == 10
    assert not (folder / "rejected").exists()
    assert UsageSeries.objects.get().user_name == "Bob"


@pytest.mark.django_db(transaction=True)
def test_records_that_name_themselves_are_read_beside_those_that_do_not(folder):
    """As an update of the server leaves them behind."""
    made = Journal(folder)
    made.write(record(m="old"))
    write(made, 1, b"new")

    drain.drain()

    assert set(UsageSeries.objects.values_list("model", flat=True)) == {"old", "new"}
    made.close()
