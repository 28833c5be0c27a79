"""The audit trail for admins: `GET /api/auth/admin/audit` (S-25), paged JSON or JSON lines."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Literal, NotRequired

import orjson
from django.db.models import QuerySet
from django.http import HttpResponseBase, StreamingHttpResponse
from django.utils.dateparse import parse_datetime
from pydantic import Field
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import answers
from accounts.api.base import AccountView
from accounts.api.shapes import listed_audit
from accounts.models import AuditRecord
from core.declared import JSON, Content, declares, shape
from core.errors import InvalidRequestError
from core.moments import in_utc
from core.whole_numbers import whole_number

DEFAULT_LIMIT, MAX_LIMIT = 100, 1000
MAX_OFFSET = 1_000_000
AuditQuery = shape(
    "AuditQuery",
    {
        "limit": NotRequired[
            Annotated[int, Field(ge=1, le=MAX_LIMIT, description=f"{DEFAULT_LIMIT} without it")]
        ],
        "offset": NotRequired[Annotated[int, Field(ge=0, le=MAX_OFFSET)]],
        "actor": NotRequired[Annotated[str, Field(description="An account's id or address")]],
        "action": NotRequired[str],
        "from": NotRequired[datetime],
        "to": NotRequired[datetime],
        "format": NotRequired[Literal["jsonl"]],
    },
)


class AuditView(AccountView):
    """Newest first. `limit`, `offset`, `actor` (id or address), `action`, `from`, `to` (RFC 3339)."""

    @declares(
        "The audit trail",
        query=AuditQuery,
        answer=[Content(JSON, answers.AuditPage), Content("application/jsonl")],
    )
    def get(self, request: Request) -> HttpResponseBase:
        given = request.query_params
        rows = chosen(
            actor=given.get("actor", ""),
            action=given.get("action", ""),
            since=_moment(given.get("from", ""), "from"),
            until=_moment(given.get("to", ""), "to"),
        )
        if given.get("format") == "jsonl":
            return StreamingHttpResponse(json_lines(rows), content_type="application/jsonl")
        limit = page_number(given.get("limit", ""), "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
        offset = page_number(given.get("offset", ""), "offset", 0, 0, MAX_OFFSET)
        page = rows[offset : offset + limit + 1]
        items = [listed_audit(row) for row in page]
        return Response({"records": items[:limit], "more": len(items) > limit})


def chosen(
    *, actor: str, action: str, since: datetime | None, until: datetime | None
) -> QuerySet[AuditRecord]:
    """The rows that a filter leaves, newest first."""
    rows = AuditRecord.objects.order_by("-at", "-id")
    if actor:
        column = "actor_name" if "@" in actor else "actor_id"
        rows = rows.filter(**{column: actor[:254].replace("\0", "")})
    if action:
        rows = rows.filter(action=action[:40].replace("\0", ""))
    if since is not None:
        rows = rows.filter(at__gte=since)
    return rows.filter(at__lt=until) if until is not None else rows


def json_lines(rows: QuerySet[AuditRecord]) -> Iterator[bytes]:
    """Every row as a line of JSON, read in pieces."""
    for row in rows.iterator(chunk_size=1000):
        yield orjson.dumps(listed_audit(row)) + b"\n"


def page_number(given: str, name: str, default: int, least: int, most: int) -> int:
    """A whole number of the query. Raises InvalidRequestError outside `least` to `most`."""
    if not given:
        return default
    number = whole_number(given, 9)
    if number is None or not least <= number <= most:
        raise InvalidRequestError(f"{name} must be between {least} and {most}", param=name)
    return number


def _moment(given: str, name: str) -> datetime | None:
    if not given:
        return None
    try:
        moment = parse_datetime(given.replace(" ", "+"))  # a `+` of a query comes as a space
        if moment is not None and moment.tzinfo is not None:
            return in_utc(moment)
    except ValueError:
        pass
    raise InvalidRequestError(f"{name} must be an RFC 3339 time", param=name)
