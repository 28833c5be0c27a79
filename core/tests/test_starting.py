"""A start that waits for a database that is away, and for nothing else."""

from core import starting
from core.starting import Unreadable, once_readable


def checked(monkeypatch, findings, *, limit_s=60.0):
    """What came of it, what was said, and how long it slept."""
    said, slept = [], []
    monkeypatch.setattr(starting.time, "sleep", slept.append)
    left = iter(findings)
    return once_readable(lambda: next(left), limit_s=limit_s, say=said.append), said, len(slept)


def test_a_database_that_comes_back_is_waited_for(monkeypatch):
    away = Unreadable.because_of(OSError())

    assert checked(monkeypatch, [away, away, None]) == (None, [away], 2)
    assert checked(monkeypatch, [away, "too old"]) == ("too old", [away], 1)


def test_what_is_wrong_for_good_is_not_asked_twice(monkeypatch):
    assert checked(monkeypatch, ["too old"]) == ("too old", [], 0)
    assert checked(monkeypatch, [None]) == (None, [], 0)


def test_there_is_an_end_to_waiting(monkeypatch):
    away = Unreadable.because_of(OSError())

    assert checked(monkeypatch, [away], limit_s=0) == (away, [], 0)
