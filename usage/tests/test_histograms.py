"""Percentiles from bins against the plain ones of the same times."""

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from usage.histograms import bin_of, percentiles

SHARES = (0.5, 0.9, 0.95, 0.99)


@given(st.lists(st.integers(min_value=1, max_value=10_000_000), min_size=1, max_size=200))
def test_percentiles_are_at_most_a_bin_off(times: list[int]) -> None:
    found = percentiles(Counter(str(bin_of(ms)) for ms in times), SHARES)
    times.sort()
    for share, ms in zip(SHARES, found, strict=True):
        exact = times[math.ceil(len(times) * share) - 1]
        assert ms is not None
        assert abs(ms - exact) <= 0.5 + exact * 0.045  # half a bin, and rounding


def test_nothing_counted_has_no_percentile() -> None:
    assert percentiles({}, SHARES) == [None] * 4
