"""What the meter writes of a trace into the journal, and how it is read back (docs/journal.md).

Most of a trace is in the usage event already: nine numbers more in its last record, and who called
from where among its names, which are told once. Pure: the lane writes with it.
"""

from collections.abc import Mapping
from typing import NamedTuple

import orjson

from core.errors import GatehouseError
from core.redaction import redacted
from usage.journal.lines import Record
from usage.traces.content import readable
from usage.traces.terms import TraceTerms

MAX_ERROR_CHARS, MAX_ERROR_BYTES = 300, 600
MAX_HEADER_CHARS, MAX_READ_CHARS = 200, 2000
NO_ENGINE = -1  # instead of an engine's status: nothing was asked of one
MAX_US, MAX_BYTES = 2**53, 2**53
ENDED, GONE, UNKNOWN = "the server process ended", "the caller hung up", "unexpected error"


def said(error: GatehouseError, terms: TraceTerms, headers: Mapping[bytes, bytes]) -> bytes:
    """What a trace says of an error, as a field. An engine's own words may hold the prompt."""
    if terms.redact_prompts:
        return b'"er":%b,' % orjson.dumps(error.reason)
    json = orjson.dumps(readable(error.message, headers, MAX_ERROR_CHARS))
    if len(json) > MAX_ERROR_BYTES:
        json = orjson.dumps(error.reason)
    return b'"er":%b,' % json


def caller(backend: str, client: str, forwarded_for: bytes | None, agent: bytes | None) -> Record:
    """What is told once, with the names: where it came from and what serves it."""
    found: Record = {"be": backend, "ci": client, "ua": _header(agent)}
    if forwarded_for is not None:
        found["xf"] = _header(forwarded_for[-MAX_HEADER_CHARS:])  # who is believed stands last
    return found


def _header(value: bytes | None) -> str:
    text = (value or b"")[:MAX_READ_CHARS].decode("latin-1")
    return redacted(text)[:MAX_HEADER_CHARS]


class Marks(NamedTuple):
    """What a record says of a trace. Times are microseconds."""

    gate_us: int
    queue_us: int
    first_us: int
    rest_us: int
    total_us: int
    request_bytes: int
    response_bytes: int
    engine_status: int
    peer: str
    forwarded_for: str
    agent: str
    backend: str
    error: str


def is_traced(record: Record) -> bool:
    """Whether tracing was on when this request came."""
    return "ci" in record


def marks_of(record: Record) -> Marks:
    """Raises TypeError, ValueError, OverflowError or AttributeError for what no meter wrote."""
    given = record.get("tm")
    if given is None:  # what a worker that died left behind
        ended = int(record.get("d", 0)) / 1000
        given = [0.0, 0.0, 0.0, 0.0, ended, 0.0, 0, 0, 0]
    started, sent, first, last, ended, queue, asked, answered, status = given
    if sent:
        first = first or ended
        stages = (sent - started - queue, queue, first - sent, max(0, last - first))
    else:
        stages, status = (ended - started - queue, queue, 0, 0), NO_ENGINE
    gate, queue_us, first_us, rest, total = (_us(each) for each in (*stages, ended - started))
    return Marks(
        gate_us=gate,
        queue_us=queue_us,
        first_us=first_us,
        rest_us=rest,
        total_us=total,
        request_bytes=min(max(int(asked), 0), MAX_BYTES),
        response_bytes=min(max(int(answered), 0), MAX_BYTES),
        engine_status=status if type(status) is int and NO_ENGINE <= status <= 999 else 0,
        peer=_text(record.get("ci", ""), 64),
        forwarded_for=_text(record.get("xf", ""), MAX_HEADER_CHARS),
        agent=_text(record.get("ua", ""), MAX_HEADER_CHARS),
        backend=_text(record.get("be", ""), 100),
        error=_text(record.get("er", ""), MAX_ERROR_CHARS) or _why(record),
    )


def _us(seconds: float) -> int:
    return min(max(round(seconds * 1e6), 0), MAX_US)


def _why(record: Record) -> str:
    status = record.get("st", 500)
    if "tm" not in record:
        return ENDED
    if status == 499:
        return GONE
    return UNKNOWN if status >= 500 else ""


def _text(value: str, limit: int) -> str:
    return value.replace("\0", "")[:limit]
