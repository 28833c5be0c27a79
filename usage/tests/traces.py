"""Traced requests for tests: as journal records, and what the lists say of them."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest

from usage.journal.lines import TRACE
from usage.journal.writer import Journal
from usage.tests.books import id_at, record

URL, ENGINES, SETTINGS = "/api/traces", "/api/backend-traces", "/api/settings"
LISTS = [URL, ENGINES]
NOW = datetime.now(UTC)
# by the worker's clock: came, sent, first byte, last count, ended; in line; sizes; engine's status
TIMES = [100.0, 100.003, 100.033, 100.073, 100.0755, 0.002, 120, 340, 200]


def traced(at=NOW, **more):
    """A traced request: 1 ms at the gate, 2 in line, 30 to the first byte, 40 of stream, 2.5 to settle."""
    fields = {"be": "vllm", "ci": "192.0.2.7", "ua": "curl/8", "tm": TIMES, "sse": True}
    return record(event_id=more.pop("event_id", None) or id_at(at), **{**fields, **more})


@pytest.fixture
def write(folder):
    """Into the journal; each ends a millisecond after the one before."""
    journal = Journal(folder)

    def put(*records):
        for each in records:
            journal.write(each)

    yield put
    journal.close()


def numbered(write, n, **more):
    write(*(traced(NOW + timedelta(milliseconds=i), cid=f"c{i}", **more) for i in range(n)))


def ids(answer):
    assert answer.status_code == 200, answer.content
    return [each["correlation_id"] for each in answer.json()]


def content(event_id, text, user="u1"):
    body = {"b": b64encode(text.encode()).decode(), "n": len(text), "cut": False}
    headers = {"User-Agent": ["curl/8"], "Authorization": ["[redacted]"]}
    return {
        "k": TRACE,
        "id": event_id,
        "u": user,
        "qh": headers,
        "q": body,
        "a": {**body, "cut": True},
    }
