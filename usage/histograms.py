"""How long things took, as counts in bins whose width grows with the value.

Bins are an eighth of a doubling wide, so a percentile is at most 4.5 % off; a histogram is a mapping
of bin (as text, as JSON has it) to count, and two are added by adding counts.
"""

import math
from collections.abc import Mapping, Sequence

PER_DOUBLING = 8
Histogram = Mapping[str, int]


def bin_of(ms: int) -> int:
    """The bin of a time in milliseconds; everything below one is bin 0."""
    return round(math.log2(ms) * PER_DOUBLING) if ms > 1 else 0


def add(into: dict[str, int], more: Histogram) -> None:
    for key, count in more.items():
        into[key] = into.get(key, 0) + count


def percentiles(histogram: Histogram, shares: Sequence[float]) -> list[int | None]:
    """The times in milliseconds below which each of `shares` (0 to 1, rising) of the counted lie.

    None for each where nothing is counted. In one pass, as a report asks for several of hundreds.
    """
    n = sum(histogram.values())
    if not n:
        return [None] * len(shares)
    found: list[int | None] = []
    seen = 0
    for key, count in sorted((int(key), count) for key, count in histogram.items()):
        seen += count
        while len(found) < len(shares) and seen >= math.ceil(n * shares[len(found)]):
            found.append(round(2 ** (key / PER_DOUBLING)))
    return found
