"""What models cost: set by admins, read by the drain. What an event cost never changes afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal, InvalidOperation
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from accounts.audit import Actor, Subject, record
from accounts.changes import terms_changed
from core.errors import ConflictError, InvalidRequestError, NotFoundError
from usage.buckets import milliseconds
from usage.models import Price
from usage.tariff import UNIT_PARTS, PriceRow, Rates, Tariff

_LOCK = 0x6761_7072  # any constant of ours, for PostgreSQL's advisory locks
MAX_PRICE = Decimal(10**9)
MAX_NANO, MAX_UNIT_NANO = 2**31, 10**12
PER_MILLION, PER_UNIT = Decimal(1000), Decimal(10**9)
MAX_ROWS = 10_000


def tariff() -> Tariff:
    """Every price, past, present and set for the future."""
    rows = Price.objects.order_by("valid_from")[:MAX_ROWS]
    return Tariff(
        PriceRow(
            row.model,
            milliseconds(row.valid_from),
            Rates(row.prompt, row.cached_prompt, row.completion, row.unit),
        )
        for row in rows
    )


def tariff_in_force() -> Tariff:
    """The tariff inside a transaction of the drain; no price changes until that ends."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [_LOCK])
    return tariff()


@contextmanager
def _change() -> Iterator[datetime]:
    """A transaction that no batch of the drain overlaps; the moment it begins.

    So an event admitted after that moment is costed with what is set in it, and one before is not.
    """
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        terms_changed()
        yield timezone.now()


def set_price(model: str, rates: Rates, valid_from: datetime | None, *, by: Actor) -> Price:
    """A new price of `model` from `valid_from` (None: now) on.

    Raises InvalidRequestError for the past, since what was used then has its cost; ConflictError where
    a price begins at that very moment.
    """
    with _change() as now:
        start = valid_from or now
        if start < now:
            raise InvalidRequestError("valid_from is in the past", param="valid_from")
        if Price.objects.filter(model=model, valid_from=start).exists():
            raise ConflictError("a price of this model begins at that moment already")
        if Price.objects.count() >= MAX_ROWS:
            raise ConflictError("there are too many prices")
        price = Price.objects.create(model=model, valid_from=start, **rates._asdict())
        after = {"valid_from": start.isoformat(), **rates._asdict()}
        record("price_set", by, Subject(price.pk, model), after=after)
    return price


def withdraw(price_id: UUID, *, by: Actor) -> None:
    """Take back a price that is not in force yet. Raises NotFoundError, or ConflictError for one that is."""
    with _change() as now:
        price = Price.objects.filter(pk=price_id).first()
        if price is None:
            raise NotFoundError("price not found")
        if price.valid_from <= now:
            raise ConflictError("a price that is or was in force stays; set a new one")
        price.delete()
        record("price_withdrawn", by, Subject(price_id, price.model))


def nano(given: object, name: str, scale: Decimal, most: int = MAX_NANO) -> int:
    """A price as 10⁻⁹ of the currency for one. `scale` is what one currency unit of it is worth so.

    Raises InvalidRequestError for what is no number, negative, too large or finer than it can be kept.
    """
    if given is None:
        return 0
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        raise InvalidRequestError(f"{name} must be a number", param=name)
    try:
        value = Decimal(str(given))
    except InvalidOperation as exc:
        raise InvalidRequestError(f"{name} must be a number", param=name) from exc
    if not value.is_finite() or not 0 <= value <= MAX_PRICE:
        raise InvalidRequestError(f"{name} must be between 0 and {MAX_PRICE}", param=name)
    scaled = value * scale
    if scaled > most:  # a request's tokens times this is what a bigint holds
        raise InvalidRequestError(f"{name} is too high", param=name)
    if scaled != scaled.to_integral_value():
        raise InvalidRequestError(f"{name} has too many decimals", param=name)
    return int(scaled)


def unit_nano(given: object) -> int:
    """The price of one unit, with at most six decimals: units are counted in thousandths."""
    found = nano(given, "unit", PER_UNIT, MAX_UNIT_NANO)
    if found % UNIT_PARTS:
        raise InvalidRequestError("unit has too many decimals", param="unit")
    return found
