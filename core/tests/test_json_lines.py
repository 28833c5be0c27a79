"""A log line as JSON: what it holds, and what it may not."""

import json
import logging
import sys

import pytest

from core import correlation
from core.json_lines import JsonLines, process_name

KEY = "lai-0a1b2c3d" + "e" * 56


def line(message, *args, level=logging.WARNING, error=None):
    info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("gatehouse.x", level, "f.py", 1, message, args, info)
    return json.loads(JsonLines().format(record))


def test_it_holds_what_a_reader_of_logs_looks_for():
    found = line("%d things\nof %s", 3, "Ünï")

    assert found["message"] == "3 things\nof Ünï"
    assert (found["level"], found["logger"]) == ("warning", "gatehouse.x")
    assert found["time"].endswith("Z")
    assert found["time"][10] == "T"
    assert found["pid"] > 0
    assert "correlation_id" not in found
    assert "exception" not in found


def test_it_names_the_request_that_is_under_way():
    before = correlation.current.set(b"abc-1")
    try:
        assert line("x")["correlation_id"] == "abc-1"
    finally:
        correlation.current.reset(before)


def test_secrets_are_taken_out_everywhere():
    before = correlation.current.set(KEY.encode())
    try:
        try:
            raise ValueError(f"bad {KEY} at /reset/abcdef")
        except ValueError as error:
            found = line("Bearer %s", KEY, error=error)
    finally:
        correlation.current.reset(before)

    assert "ValueError" in found["exception"]
    assert "e" * 20 not in json.dumps(found)
    assert "abcdef" not in json.dumps(found)


def test_it_is_one_line_whatever_is_in_it():
    record = logging.LogRecord("x", logging.INFO, "f.py", 1, "a\r\n\u2028\ud800b", (), None)

    assert len(JsonLines().format(record).splitlines()) == 1


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["/v/bin/gunicorn/__main__.py", "localai_project.asgi:application"], "web"),
        (["/x/manage.py", "runbackground"], "background"),
        (["/x/manage.py", "runengine"], "engine"),
        (["/x/manage.py", "serve", "--web-only"], "serve"),
        (["/x/pytest.py"], "pytest"),
        ([], ""),
    ],
)
def test_a_process_says_which_it_is(argv, name, monkeypatch):
    monkeypatch.setattr(sys, "argv", argv)

    assert process_name(sys.argv) == name
    assert line("x")["process"] == name
