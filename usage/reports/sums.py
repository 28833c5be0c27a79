"""Sums from rollups, grouped. One query, of which every part that is not a value is from here."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction
from django.db.models import Min

from core.errors import InvalidRequestError
from usage.models import Grain, UsageSeries
from usage.models.rollups import ModelRollup, UsageRollup
from usage.reports.windows import FIRST_HOUR, Span, Window, spans

_ROLLUP, _MODELS, _SERIES = (
    each._meta.db_table  # noqa: SLF001
    for each in (UsageRollup, ModelRollup, UsageSeries)
)
# A group as reports name it: the columns it is by, and those that follow from them.
GROUPS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "user": (("user_id",), ("user_name",)),
    "key": (("api_key_id",), ("api_key_name",)),
    "source": (("source",), ()),
    "model": (("model",), ()),
    "served_model": (("served_model",), ()),
    "endpoint": (("endpoint",), ()),
}
ORDERS = {
    "tokens": "prompt_tokens + completion_tokens",
    "requests": "requests",
    "errors": "errors",
    "cost": "cost",
}
_SUMMED = (
    *("requests", "errors", "prompt_tokens", "cached_tokens", "completion_tokens", "units"),
    "cost",
)
MAX_ROWS = 200_000
_MAX_LISTED = 800  # more buckets or series than that are not looked up one by one
_MANY_BUCKETS = 12  # a series has up to so many rows before adding them up first is worth it


@dataclass(frozen=True, slots=True)
class Filters:
    """Equal to these, where given; a value of None is no filter."""

    user_id: str | None = None
    api_key_id: str | None = None
    source: str | None = None
    model: str | None = None

    def given(self) -> dict[str, str]:
        pairs = (("user_id", self.user_id), ("api_key_id", self.api_key_id))
        more = (("source", self.source), ("model", self.model))
        return {name: value for name, value in (*pairs, *more) if value is not None}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the rollups. `order` of None: by bucket, then by the groups."""

    window: Window
    groups: Sequence[str]
    filters: Filters = field(default_factory=Filters)
    order: str | None = None
    limit: int | None = None
    people: Sequence[str] | None = None  # these users' alone


def ask(question: Question) -> list[dict[str, Any]]:
    """One row per bucket and group: `bucket` (its number), the groups' columns, the sums, `last_ms`.

    Raises InvalidRequestError for an unknown group or order, and for more than MAX_ROWS rows.
    """
    for group in question.groups:
        if group not in GROUPS:
            raise InvalidRequestError(
                f"group_by takes {', '.join(GROUPS)}, comma-separated", param="group_by"
            )
    named = question.filters.given() or question.people is not None
    everybody = not named and set(question.groups) <= {"model"}
    sql, values = _everybody(question) if everybody else _by_series(question)
    names, rows = _fetched(sql, values, few=question.people is not None)
    if len(rows) > MAX_ROWS:
        raise InvalidRequestError(
            f"that is more than {MAX_ROWS} rows; narrow the window, or use a wider bucket or a limit",
            param="from",
        )
    return [dict(zip(names, row, strict=True)) for row in rows]


def _fetched(sql: str, values: list[Any], *, few: bool) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The columns' names and up to one row more than may be.

    PostgreSQL would start workers beside a query about `few` people: that takes longer than the query.
    """
    alone = few and connection.vendor == "postgresql"
    with (
        transaction.atomic(savepoint=False) if alone else nullcontext(),
        connection.cursor() as cursor,
    ):
        if alone:
            cursor.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        cursor.execute(sql, values)
        return [column[0] for column in cursor.description], cursor.fetchmany(MAX_ROWS + 1)


def _everybody(question: Question) -> tuple[str, list[Any]]:
    inner, values = _rollups(_MODELS, "model", question.window, None)
    return _outer(question, f"({inner}) r"), values


def _by_series(question: Question) -> tuple[str, list[Any]]:
    given: dict[str, Any] = dict(question.filters.given())
    people = question.people
    numbers = None
    if given or people is not None:
        wanted = UsageSeries.objects.filter(**given)
        if people is not None:
            wanted = wanted.filter(user_id__in=people)
        found = wanted.values_list("id", flat=True)
        numbers = list(found[: _MAX_LISTED + 1])
    listed = numbers if numbers is not None and len(numbers) <= _MAX_LISTED else None
    inner, values = _rollups(_ROLLUP, "series_id", question.window, listed)
    n_buckets = sum(span.last - span.first + 1 for span in spans(question.window))
    if question.window.grain is None and n_buckets >= _MANY_BUCKETS:
        inner = _one_row_a_series(inner)
    source = f"({inner}) r JOIN {_SERIES} s ON s.id = r.series_id"
    conditions = [f"s.{name} = %s" for name in given]
    values += given.values()
    if people is not None:
        conditions.append(f"s.user_id IN ({', '.join(['%s'] * len(people)) or 'NULL'})")
        values += people
    if conditions:
        source += " WHERE " + " AND ".join(conditions)
    return _outer(question, source), values


def _one_row_a_series(inner: str) -> str:
    """Where the window is one sum: names are joined to and grouped by once a series, not once a row."""
    sums = ", ".join(f"CAST(SUM({name}) AS bigint) AS {name}" for name in _SUMMED)
    return (
        f"SELECT 0 AS shown, series_id, {sums}, MAX(last_ms) AS last_ms "  # noqa: S608
        f"FROM ({inner}) each_row GROUP BY series_id"
    )


def _outer(question: Question, source: str) -> str:
    by = [name for group in question.groups for name in GROUPS[group][0]]
    following = [name for group in question.groups for name in GROUPS[group][1]]
    columns = ["shown AS bucket", *by, *(f"MAX({name}) AS {name}" for name in following)]
    # PostgreSQL's sums of bigints are numeric; a book holds nothing that a bigint does not
    columns += [f"CAST(SUM({name}) AS bigint) AS {name}" for name in _SUMMED]
    columns.append("MAX(last_ms) AS last_ms")
    groups = ", ".join(["shown", *by])
    order = groups
    if question.order is not None:
        if question.order not in ORDERS:
            raise InvalidRequestError(f"order must be one of {', '.join(ORDERS)}", param="order")
        summed = " + ".join(f"SUM({part})" for part in ORDERS[question.order].split(" + "))
        order = f"{summed} DESC, {groups}"
    limit = f" LIMIT {int(question.limit)}" if question.limit is not None else ""
    return f"SELECT {', '.join(columns)} FROM {source} GROUP BY {groups} ORDER BY {order}{limit}"  # noqa: S608


def _rollups(
    table: str, what: str, window: Window, listed: list[int] | None
) -> tuple[str, list[Any]]:
    """The window's rollup rows as `shown`, `what` and the sums; of the series in `listed` alone."""
    parts: list[str] = []
    values: list[Any] = []
    found = spans(window)
    if listed is not None and window.first == FIRST_HOUR:
        found = _begun(found)
    for span in found:
        pieces = _parts(span) if listed is not None else [span]
        parts += [_span(table, what, piece, listed) for piece in pieces]
    return " UNION ALL ".join(parts), values


def _begun(found: list[Span]) -> list[Span]:
    """Without the months before the first there is: one by one they would be looked up in vain."""
    earliest = UsageRollup.objects.filter(grain=Grain.MONTH).aggregate(Min("bucket"))["bucket__min"]
    return [
        each._replace(first=max(each.first, min(each.last, earliest or each.last)))
        if each.grain == Grain.MONTH
        else each
        for each in found
    ]


def _parts(span: Span) -> Iterator[Span]:
    """A span in pieces whose buckets can be looked up one by one."""
    for first in range(span.first, span.last + 1, _MAX_LISTED):
        yield span._replace(first=first, last=min(span.last, first + _MAX_LISTED - 1))


def _span(table: str, what: str, span: Span, listed: list[int] | None) -> str:
    shown = "bucket" if span.shown is None else str(int(span.shown))
    columns = f"{shown} AS shown, {what}, {', '.join(_SUMMED)}, last_ms"
    if listed is None:
        return (
            f"SELECT {columns} FROM {table} WHERE grain = {int(span.grain)} "  # noqa: S608
            f"AND bucket BETWEEN {int(span.first)} AND {int(span.last)}"
        )
    buckets = range(span.first, span.last + 1)
    if connection.vendor == "sqlite" and listed:
        # which would read whole months where it is given lists, however few the series are
        return (
            f"SELECT {columns} FROM (VALUES {_rows(buckets)}) b CROSS JOIN (VALUES {_rows(listed)}) n "  # noqa: S608
            f"CROSS JOIN {table} WHERE grain = {int(span.grain)} AND bucket = b.column1 "
            f"AND {what} = n.column1"
        )
    return (
        f"SELECT {columns} FROM {table} WHERE grain = {int(span.grain)} "  # noqa: S608
        f"AND bucket IN ({', '.join(map(str, buckets))}) "
        f"AND {what} IN ({', '.join(map(str, listed)) or 'NULL'})"
    )


def _rows(numbers: Iterable[int]) -> str:
    return ", ".join(f"({number})" for number in numbers)
