"""Cost as pages show it: two decimals, more of them where the amount is below a cent."""

from decimal import ROUND_HALF_UP, Decimal

from accounts.ui.numbers import GAP, grouped

NANO = Decimal(10**9)
_SIGNS = {"USD": "$", "EUR": "€", "GBP": "£"}
_CENT = Decimal("0.01")


def amount(nano: int, currency: str) -> str:
    """`$1.97`, `1.97 CHF`; below a cent its first two digits: `$0.0034`."""
    value = Decimal(nano) / NANO
    places = 2
    if 0 < value < _CENT:
        places = -value.adjusted() + 1
    # Django's formatting cuts digits off
    shown = grouped(value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP), places)
    sign = _SIGNS.get(currency.upper())
    return f"{sign}{shown}" if sign else f"{shown}{GAP}{currency.upper()}"
