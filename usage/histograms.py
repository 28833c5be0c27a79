"""How long things took, as counts in bins whose width grows with the value.

Bins are an eighth of a doubling wide, so a percentile is at most 4.5 % off; a histogram is a mapping
of bin (as text, as JSON has it) to count, and two are added by adding counts.
"""

import math
from collections.abc import Mapping

PER_DOUBLING = 8
Histogram = Mapping[str, int]


def bin_of(ms: int) -> int:
    """The bin of a time in milliseconds; everything below one is bin 0."""
    return round(math.log2(ms) * PER_DOUBLING) if ms > 1 else 0


def add(into: dict[str, int], more: Histogram) -> None:
    for key, count in more.items():
        into[key] = into.get(key, 0) + count


def percentile(histogram: Histogram, share: float) -> int | None:
    """The time in milliseconds below which `share` (0 to 1) of the counted lie; None where none are."""
    n = sum(histogram.values())
    if not n:
        return None
    wanted, seen = math.ceil(n * share), 0
    for key, count in sorted(histogram.items(), key=lambda item: int(item[0])):
        seen += count
        if seen >= wanted:
            return round(2 ** (int(key) / PER_DOUBLING))
    return None
