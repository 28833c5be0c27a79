"""What a request costs by the prices in force when it was admitted. Integers only (S-54).

Imports no models: the lane reckons with it, too, where a budget applies.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

UNIT_PARTS = 1000  # units are counted in thousandths


class Rates(NamedTuple):
    """10⁻⁹ of the currency for a prompt token, one from the cache, a completion token, a unit."""

    prompt: int
    cached_prompt: int
    completion: int
    unit: int


FREE = Rates(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class PriceRow:
    model: str
    from_ms: int
    rates: Rates


class Tariff:
    """Every price there was, is and will be, by model and time."""

    __slots__ = ("_from", "_rates")

    def __init__(self, rows: Iterable[PriceRow] = ()) -> None:
        self._from: dict[str, list[int]] = {}
        self._rates: dict[str, list[Rates]] = {}
        for row in sorted(rows, key=lambda row: row.from_ms):
            self._from.setdefault(row.model, []).append(row.from_ms)
            self._rates.setdefault(row.model, []).append(row.rates)

    def rates(self, model: str, at_ms: int) -> Rates:
        """The rates of `model` at a moment (milliseconds since 1970); free before its first price."""
        starts = self._from.get(model)
        if starts is None:
            return FREE
        index = bisect_right(starts, at_ms)
        return self._rates[model][index - 1] if index else FREE


def cost(rates: Rates, *, prompt: int, cached: int, completion: int, units: int = 0) -> int:
    """In 10⁻⁹ of the currency. `prompt` includes `cached`; `units` are thousandths, so it is exact."""
    cached = min(cached, prompt)
    return (
        (prompt - cached) * rates.prompt
        + cached * rates.cached_prompt
        + completion * rates.completion
        + units * rates.unit // UNIT_PARTS
    )
