"""What a query asks of the traces: its page and filters, for endpoints and pages alike (R-12, R-30)."""

from collections.abc import Mapping

from accounts.api.audit import page_number
from core.errors import InvalidRequestError
from usage.traces import listing
from usage.traces.listing import Page
from usage.traces.terms import HARD_ITEMS

DEFAULT_LIMIT, MAX_LIMIT, MAX_TEXT = 50, 1000, 255


def page_in(given: Mapping[str, str]) -> Page:
    """The page and filters of a query. Raises InvalidRequestError that names the key."""
    return Page(
        limit=page_number(given.get("limit", ""), "limit", DEFAULT_LIMIT, 0, MAX_LIMIT),
        offset=page_number(given.get("offset", ""), "offset", 0, 0, HARD_ITEMS),
        full=_flag(given, "full"),
        user=_text(given, "user"),
        model=_text(given, "model"),
        path=_text(given, "path"),
        correlation_id=_text(given, "correlation_id"),
        kind=_kind(given),
        status=page_number(given.get("status", ""), "status", 0, 100, 599),
    )


def _text(given: Mapping[str, str], name: str) -> str:
    value = given.get(name, "")
    if len(value) > MAX_TEXT or "\0" in value:
        raise InvalidRequestError(f"{name} is too long or not a text", param=name)
    return value


def _flag(given: Mapping[str, str], name: str) -> bool:
    value = given.get(name, "false")
    if value not in {"true", "false"}:
        raise InvalidRequestError(f"{name} must be true or false", param=name)
    return value == "true"


def _kind(given: Mapping[str, str]) -> str:
    value = _text(given, "type")
    if value and value not in listing.kinds():
        known = ", ".join(listing.kinds())
        raise InvalidRequestError(f"type must be one of {known}", param="type")
    return value
