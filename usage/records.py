"""A journal record as a row of the ledger, or the reason why it is none."""

import re
from functools import lru_cache
from typing import Any, NamedTuple

from usage.journal.lines import Record
from usage.traces.marks import is_traced

MAX_INT = 2**31 - 1
MAX_UNITS = 10**9  # thousandths; times the highest price it is still a bigint
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
UNITS = {"", "seconds", "characters", "images", "steps"}


class BadRecordError(ValueError):
    """A record that cannot be a row of the ledger; it is set aside."""


class Combination(NamedTuple):
    """The names of an event; one row of `UsageSeries`."""

    user_id: str
    api_key_id: str | None
    source: str
    model: str
    served_model: str
    endpoint: str
    unit: str


class Row(NamedTuple):
    """One event as the ledger takes it. Times are milliseconds, `units` thousandths."""

    id: str
    at_ms: int
    names: Combination
    user_name: str
    api_key_name: str | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    units: int
    duration_ms: int
    first_token_ms: int | None
    queue_ms: int
    status: int
    counted: bool
    estimated: bool
    streamed: bool
    correlation_id: str
    unknown_model: str | None
    traced: Record | None = None  # the record, where its trace is kept, too


def moment_ms(event_id: str) -> int:
    """When an event was admitted, milliseconds since 1970: the first 48 bits of its UUIDv7."""
    return int(event_id[:8] + event_id[9:13], 16)


def row_of(record: Record) -> Row:
    """The row of an `f` record, or of an `o` or `p` one that nobody ended.

    Raises BadRecordError; what a database would refuse never reaches it.
    """
    try:
        event_id = record["id"]
        if not ID.fullmatch(event_id):
            raise BadRecordError("not an id")
        names, user_name, key_name = _names(
            (
                *(record["u"], record["un"], record["ki"], record["kn"], record["s"]),
                *(record["m"], record["sm"], record["e"], record.get("unit", "")),
            )
        )
        first, unknown = record.get("tt"), record.get("um")
        return Row(
            event_id,
            moment_ms(event_id),
            names,
            user_name,
            key_name,
            _count(record.get("p", 0)),
            _count(record.get("cp", 0)),
            _count(record.get("c", 0)),
            _count(record.get("uq", 0), MAX_UNITS),
            min(_count(record.get("d", 0), 2**62), MAX_INT),
            min(_count(first, 2**62), MAX_INT) if first is not None else None,
            min(_count(record.get("q", 0), 2**62), MAX_INT),
            _count(record.get("st", 500), 999),
            bool(record.get("n", False)),
            bool(record.get("est", False)),
            bool(record.get("sse", False)),
            _text(str(record.get("cid", event_id)), 128),
            _text(unknown, 255) if unknown is not None else None,
            record if is_traced(record) else None,
        )
    except (KeyError, TypeError, AttributeError) as exc:
        raise BadRecordError(f"a field is missing or of another kind: {exc}") from exc


@lru_cache(maxsize=20_000)
def _names(given: tuple[Any, ...]) -> tuple[Combination, str, str | None]:
    """The combination, the user's and the key's name. Remembered: most events repeat an earlier one's."""
    user_id, user_name, key_id, key_name, source, model, served_model, endpoint, unit = given
    if unit not in UNITS:
        raise BadRecordError("not a unit")
    names = Combination(
        _text(user_id, 36),
        _text(key_id, 36) if key_id is not None else None,
        _text(source, 8),
        _text(model, 255),
        _text(served_model, 255),
        _text(endpoint, 200),
        unit,
    )
    return names, _text(user_name, 254), _text(key_name, 100) if key_name is not None else None


def _text(value: str, limit: int) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise BadRecordError("not a text")
    return value[:limit]


def _count(value: int, limit: int = MAX_INT) -> int:
    if type(value) is not int or not 0 <= value <= limit:
        raise BadRecordError("not a count")
    return value
