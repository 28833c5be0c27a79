"""Stacked bars as the server draws them: the first paint of a chart, and all of it without script.

The plot is 100 high and 10 wide a column, stretched by its style; sizes are SVG attributes, since the
CSP forbids styles in markup. Completion is at the base, prompt above it, a hairline of ground between.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from usage.reports.overview import Column

MOST_STEPS, LABELS, MOST_LABELLED = 4, 5, 8
WIDTH, BAR, MARGIN, GAP = 10, 6.8, 1.6, 0.7
_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Bar:
    """One rectangle, as text with a point for the decimals, whatever the reader's language."""

    x: str
    y: str
    height: str
    kind: str


@dataclass(frozen=True, slots=True)
class Chart:
    """`ticks` of the axis from the top down to 0, where grid lines lie, bars, and the column read out.

    `places` are the columns that are labelled under the axis.
    """

    width: int
    ticks: list[float]
    grid: list[str]
    bars: list[Bar]
    read: Column
    at_x: int
    places: list[Column]
    top: float

    @property
    def all_labelled(self) -> bool:
        """Then each label stands in the middle below its column."""
        return len(self.places) * WIDTH == self.width


def axis(most: int) -> tuple[float, int]:
    """The step of an axis from 0 up to at least `most`, and how many there are: round, at most four."""
    if most <= 0:
        return 1.0, 1
    if most < MOST_STEPS:
        return 1.0, most
    rough = most / MOST_STEPS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in _ROUND if each * power >= rough)
    step = math.ceil(step)  # tokens are whole
    return float(step), math.ceil(most / step)


def stacked(columns: Sequence[Column]) -> Chart:
    """The chart of these columns; the last one with anything in it is the one that is read out."""
    step, n_steps = axis(max((each.sums.total for each in columns), default=0))
    top = step * n_steps
    used = [place for place, each in enumerate(columns) if each.sums.total]
    at = used[-1] if used else len(columns) - 1
    bars = [bar for place, each in enumerate(columns) for bar in _bars(place, each, top)]
    return Chart(
        width=WIDTH * len(columns),
        ticks=[step * each for each in range(n_steps, -1, -1)],
        grid=[f"{100 * each / n_steps:.2f}" for each in range(n_steps)],
        bars=bars,
        read=columns[at],
        at_x=at * WIDTH,
        places=_labelled(columns),
        top=top,
    )


def _bars(place: int, column: Column, top: float) -> list[Bar]:
    x = f"{place * WIDTH + MARGIN:.1f}"
    completion, prompt = (100 * each / top for each in (column.sums.completion, column.sums.prompt))
    found = []
    if completion:
        found.append(Bar(x, f"{100 - completion:.2f}", f"{completion:.2f}", "s1"))
    gap = GAP if completion and prompt > 2 * GAP else 0.0
    if prompt:
        height = prompt - gap
        found.append(Bar(x, f"{100 - completion - prompt:.2f}", f"{height:.2f}", "s2"))
    return found


def _labelled(columns: Sequence[Column]) -> list[Column]:
    """All of a few; of many some, evenly spaced, the first and the last among them."""
    last = len(columns) - 1
    if last < MOST_LABELLED:
        return list(columns)
    return [columns[round(each * last / (LABELS - 1))] for each in range(LABELS)]
