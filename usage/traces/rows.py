"""Traces into their tables, while the journal is drained, and out of them again once there are too many.

A trace is no book: what goes wrong here is logged, and never holds up or loses usage.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar
from uuid import UUID

import orjson
import uuid_utils
from django.db import DatabaseError, DataError, IntegrityError, connection, transaction

from accounts.limits import client_address
from usage.journal.lines import Record
from usage.models import EngineTrace, RequestTrace, TraceContent
from usage.records import ID, Combination, Row, moment_ms
from usage.series import living
from usage.traces.marks import Marks, marks_of
from usage.traces.settings import is_on, max_items

log = logging.getLogger("gatehouse.traces")
MAX_CONTENT_BYTES = 256 * 1024 * 1024  # of all bodies together, whatever the settings say
STEP_ROWS = 2000  # deleted at once
MAX_ERROR_CHARS = 300
_Read = TypeVar("_Read")
_Hops = tuple[str, str]  # the peer, and its X-Forwarded-For
_REFUSED = (
    DataError,
    IntegrityError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
)
_REQUEST = (
    *("id", "ended_us", "series_id", "status", "streamed", "prompt_tokens", "completion_tokens"),
    *("gate_us", "queue_us", "first_us", "rest_us", "total_us", "request_bytes", "response_bytes"),
    *("correlation_id", "unknown_model", "client_ip", "user_agent", "error"),
)
_ENGINE = (
    *("id", "ended_us", "kind", "model", "backend", "endpoint", "status", "streamed"),
    *("prompt_tokens", "completion_tokens", "first_us", "total_us", "correlation_id", "error"),
)
_CONTENT = ("id", "kept_us", "n_bytes", "user_id", "data")
_OWNER = _CONTENT.index("user_id")


def insert(rows: Sequence[Row], numbers: dict[Combination, int]) -> None:
    """The traces of these events, as many as are kept at most. Use inside a transaction.

    `numbers` are those of their series. Nobody's who was deleted meanwhile (S-19).
    """
    traced = [row for row in rows if row.traced is not None]
    if not traced:
        return
    try:
        with transaction.atomic():
            there = living(row.names.user_id for row in traced)
            mine = [row for row in traced[-max_items() :] if row.names.user_id in there]
            found = [(row, marks) for row in mine if (marks := _readable(marks_of, row.traced))]
            where = _addresses(marks for _, marks in found)
            _add(RequestTrace, _REQUEST, [_request(*each, numbers, where) for each in found])
            calls = [each for each in found if each[1].engine_status >= 0]
            _add(EngineTrace, _ENGINE, [_call(*each) for each in calls])
    except _REFUSED:
        log.warning("%d traces could not be kept", len(traced), exc_info=True)


def _readable(read: Callable[[Any], _Read], record: Record | None) -> _Read | None:
    """What `read` makes of a record; None of one that no worker wrote so."""
    try:
        return read(record)
    except _REFUSED:
        log.warning("the trace of a request could not be read")
        return None


def _addresses(given: Iterable[Marks]) -> dict[_Hops, str]:
    """The callers' addresses by what their connections said, past the proxies that are trusted (W-06)."""
    hops = {(marks.peer, marks.forwarded_for) for marks in given}
    return {each: client_address(*each)[:64] for each in hops}


def _request(
    row: Row, marks: Marks, numbers: dict[Combination, int], where: dict[_Hops, str]
) -> tuple[Any, ...]:
    return (
        *(row.id, row.at_ms * 1000 + marks.total_us, numbers[row.names], row.status),
        *(row.streamed, row.prompt_tokens, row.completion_tokens, *marks[:7]),
        *(row.correlation_id, row.unknown_model, where[marks.peer, marks.forwarded_for]),
        *(marks.agent, marks.error),
    )


def _call(row: Row, marks: Marks) -> tuple[Any, ...]:
    return (
        *(row.id, row.at_ms * 1000 + marks.total_us, "", row.names.model, marks.backend),
        *(row.names.endpoint, marks.engine_status, row.streamed),
        *(row.prompt_tokens, row.completion_tokens, marks.first_us),
        *(marks.first_us + marks.rest_us, row.correlation_id, marks.error),
    )


def _add(model: type[Any], columns: Sequence[str], values: list[tuple[Any, ...]]) -> None:
    """Plain SQL: through the ORM a row costs twenty times as much (decision 003)."""
    if not values:
        return
    if connection.vendor == "sqlite":
        values = [(each[0].replace("-", ""), *each[1:]) for each in values]
    marks = ", ".join(["%s"] * len(columns))
    into = f"INSERT INTO {model._meta.db_table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608, SLF001
    with connection.cursor() as cursor:
        cursor.executemany(f"{into} ON CONFLICT (id) DO NOTHING", values)


def insert_contents(records: Sequence[Record]) -> None:
    """The sink of the journal's `t` records."""
    try:
        with transaction.atomic():
            found = [each for record in records if (each := _readable(_content, record))]
            found = found[-max_items() :]
            there = living(each[_OWNER] for each in found)
            _add(TraceContent, _CONTENT, [each for each in found if each[_OWNER] in there])
    except _REFUSED:
        log.warning("the bodies of %d traces could not be kept", len(records), exc_info=True)


def _content(record: Record) -> tuple[Any, ...]:
    if not ID.fullmatch(record["id"]):
        raise ValueError("not an id")
    data = orjson.dumps({name: record[name] for name in ("qh", "q", "a")}).decode()
    kept_us = moment_ms(record["id"]) * 1000
    return (record["id"], kept_us, len(data), record["u"][:36], data)


def keep_load(*, model: str, backend: str, seconds: float, error: str = "") -> None:
    """A model was loaded, or was not: a trace of the engine process (surface, section 2)."""
    try:
        if not is_on():
            return
        EngineTrace.objects.create(
            id=UUID(bytes=uuid_utils.uuid7().bytes),
            ended_us=int(time.time() * 1e6),
            kind="model_load",
            model=model,
            backend=backend[:100],
            status=503 if error else 200,
            total_us=int(seconds * 1e6),
            error=error[:MAX_ERROR_CHARS],
        )
        _trim(EngineTrace, "ended_us", max_items())
    except DatabaseError as exc:
        log.warning("the load of %s was not traced: %s", model, type(exc).__name__)


def trim_after(fresh: Sequence[tuple[Row, int]]) -> None:
    """After a batch was committed: what is over the bound goes, the oldest first."""
    if not any(row.traced is not None for row, _ in fresh):
        return
    try:
        keep = max_items()
        _trim(RequestTrace, "ended_us", keep)
        _trim(EngineTrace, "ended_us", keep)
        _trim(TraceContent, "kept_us", keep)
        _trim_bytes()
    except DatabaseError as exc:
        log.warning("traces are not trimmed now: %s", type(exc).__name__)


def expire(cutoff_us: int) -> None:
    """Traces older than events are kept go as well: they say more of people than those."""
    _delete_before(RequestTrace, "ended_us", cutoff_us)
    _delete_before(EngineTrace, "ended_us", cutoff_us)
    _delete_before(TraceContent, "kept_us", cutoff_us)


def _trim(model: type[Any], column: str, keep: int) -> None:
    """Delete all but the newest `keep`, found by the index; in steps."""
    ages = model.objects.order_by(f"-{column}").values_list(column, flat=True)
    newest = ages[keep - 1 : keep].first() if keep else None
    if newest is None:
        return
    _delete_before(model, column, newest)


def _delete_before(model: type[Any], column: str, age: int) -> None:
    table = model._meta.db_table  # noqa: SLF001
    skipping = "FOR UPDATE SKIP LOCKED" if connection.vendor == "postgresql" else ""
    statement = (
        f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE {column} < %s "  # noqa: S608
        f"ORDER BY {column} LIMIT {STEP_ROWS} {skipping})"  # another machine trims as well
    )
    gone = STEP_ROWS
    while gone == STEP_ROWS:
        with connection.cursor() as cursor:
            cursor.execute(statement, [age])
            gone = cursor.rowcount


def _trim_bytes() -> None:
    """Bodies have a bound of bytes, too."""
    sizes = TraceContent.objects.order_by("-kept_us").values_list("kept_us", "n_bytes")
    total = 0
    for kept_us, n_bytes in sizes:
        total += n_bytes
        if total > MAX_CONTENT_BYTES:
            _delete_before(TraceContent, "kept_us", kept_us + 1)
            return


def clear_requests() -> None:
    TraceContent.objects.all().delete()
    RequestTrace.objects.all().delete()


def clear_engine_calls() -> None:
    EngineTrace.objects.all().delete()
