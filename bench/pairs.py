"""Ratios from interleaved pairs, with an interval: single runs differ by up to half on shared machines."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

PAIRS = 9
# two-sided Student's t for 95 %, by degrees of freedom (n - 1)
_T95 = {1: 12.7, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 10: 2.23}
Run = Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Ratio:
    """A figure over pairs and its 95 % interval: a mean, or of A/B what the logarithms' mean comes to."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        digits = 2 if abs(self.mean) >= 0.1 or not self.mean else 3
        return f"{self.mean:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def interval(values: Sequence[float]) -> Ratio:
    mean = statistics.fmean(values)
    spread = statistics.stdev(values) / math.sqrt(len(values)) * _t95(len(values) - 1)
    return Ratio(mean, mean - spread, mean + spread)


def _t95(freedom: int) -> float:
    """Beyond the table by its expansion (Abramowitz and Stegun, 26.7.5), to 0.003."""
    return _T95.get(freedom) or 1.960 + 2.372 / freedom + 2.823 / freedom**2


def alternate(a: Run, b: Run, n: int = PAIRS) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A and B in turn, the first of each pair changing, `n` pairs."""
    ours: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    for index in range(n):
        for run, into in ((a, ours), (b, theirs)) if index % 2 == 0 else ((b, theirs), (a, ours)):
            into.append(run())
    return ours, theirs


def ratio(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], what: str) -> Ratio:
    """A/B by logarithms, so that A/B and B/A say the same: a mean of quotients says too much of both
    where runs differ (4 % where they differ by a fifth).
    """
    logs = interval([math.log(a[what] / b[what]) for a, b in zip(ours, theirs, strict=True)])
    return Ratio(math.exp(logs.mean), math.exp(logs.low), math.exp(logs.high))


def added(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], what: str) -> Ratio:
    """The mean of A - B over pairs, in the unit of `what`."""
    return interval([a[what] - b[what] for a, b in zip(ours, theirs, strict=True)])


def median(runs: list[dict[str, Any]], what: str) -> float:
    return statistics.median(run[what] for run in runs)
