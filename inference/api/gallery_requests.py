"""What the galleries of models and of backends read in a request, and answer, alike."""

from collections.abc import Mapping
from typing import Any, TypeVar

import psutil
from rest_framework.request import Request

from accounts.api.audit import page_number
from accounts.audit import Actor, actor_of
from accounts.runtime import env
from core.errors import GatehouseError, InvalidRequestError
from inference import asked_operations, operations
from inference.gallery_listing import MAX_ITEMS, MAX_PAGE, SORTS, Page, Query
from inference.models import Operation
from inference.operations import Wish
from inference.shelves import Shelf

MAX_ID_CHARS, MAX_TERM_CHARS = 500, 200
E = TypeVar("E")


class GalleriesUnreadableError(GatehouseError):
    """None of the galleries can be read (R-04)."""

    status = 500


def readable(read: list[Shelf[E]]) -> list[Shelf[E]]:
    """The shelves, where at least one has entries or no fault. Raises GalleriesUnreadableError."""
    if read and all(each.fault and not each.entries for each in read):
        raise GalleriesUnreadableError("; ".join(each.fault for each in read)[:1000])
    return read


def gallery_query(request: Request) -> Query:
    """What of a gallery is wanted. Raises InvalidRequestError that names the parameter."""
    return query_in(request.query_params)


def query_in(given: Mapping[str, str]) -> Query:
    """The same, from the parameters of an address."""
    term = given.get("term", "").strip()
    if len(term) > MAX_TERM_CHARS:
        raise InvalidRequestError(f"term: at most {MAX_TERM_CHARS} characters", param="term")
    tags = tuple(tag.strip() for tag in given.get("tag", "").split(",") if tag.strip())
    return Query(
        term=term,
        tags=tags[:20],
        backend=given.get("backend", ""),
        fits={"true": True, "false": False, "": None}[
            _one_of(given.get("fits", ""), "fits", ("", "true", "false"))
        ],
        sort=_one_of(given.get("sort") or "name", "sort", SORTS),
        descending=_one_of(given.get("order") or "asc", "order", ("asc", "desc")) == "desc",
        page=page_number(given.get("page", ""), "page", 1, 1, MAX_PAGE),
        items=page_number(given.get("items", ""), "items", 9, 1, MAX_ITEMS),
    )


def _one_of(value: str, name: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        words = ", ".join(word for word in allowed if word)
        raise InvalidRequestError(f"{name} must be one of {words}", param=name)
    return value


def element_id(given: str, kind: str = "model") -> str:
    """`gallery@name` as the path has it. Raises InvalidRequestError."""
    if not given.strip() or len(given) > MAX_ID_CHARS or not given.isprintable():
        raise InvalidRequestError(f"invalid {kind} ID")
    return given


def page_facts(page: Page[Any], read: list[Shelf[Any]]) -> dict[str, Any]:
    """What every page of a gallery says besides its entries (surface, section 1)."""
    memory = psutil.virtual_memory()
    return {
        "repositories": [{"url": each.gallery.url, "name": each.gallery.name} for each in read],
        "ramTotal": memory.total,
        "ramUsed": memory.used,
        "ramUsagePercent": memory.percent,
        "currentPage": page.page,
        "totalPages": page.n_pages,
        "prevPage": page.previous,
        "nextPage": page.following,
        "galleryErrors": [each.fault for each in read if each.fault],
    }


def gallery_states(read: list[Shelf[Any]]) -> list[dict[str, str]]:
    """Each gallery, with what is wrong with it, if anything."""
    rows = ({"url": each.gallery.url, "name": each.gallery.name} for each in read)
    return [
        row | ({"error": each.fault} if each.fault else {})
        for row, each in zip(rows, read, strict=True)
    ]


def under_way(kind: Operation.Kind) -> dict[str, Operation]:
    """The operation that concerns each name of that kind now."""
    rows = Operation.objects.filter(kind=kind, state__in=operations.OPEN)
    return {row.target: row for row in rows.order_by("created_at")}


def ask_for(wish: Wish, request: Request) -> Operation:
    """Have it done for the caller, once for a key of theirs. Raises what `enqueue_once` does."""
    key = request.headers.get("Idempotency-Key", "")
    return asked_operations.start(wish, key=key, by=caller(request))


def caller(request: Request) -> Actor:
    return actor_of(request._request)  # noqa: SLF001  # DRF's own name


def asker(request: Request) -> str:
    """Who asks, as it is kept with an operation."""
    return caller(request).name


def base_url(request: Request) -> str:
    """LOCALAI_BASE_URL where set; else the host asked for, which the front has allowed (R-37)."""
    if env().base_url:
        return env().base_url
    host = request._request.headers.get("host", "")  # noqa: SLF001
    return f"{request._request.scheme}://{host}" if host else env().public_url  # noqa: SLF001
