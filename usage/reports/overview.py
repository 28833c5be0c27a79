"""What the usage page shows of one person, or of everybody: totals, buckets without gaps, who shares it.

One question to the rollups answers all of it, so cards, chart, tables and CSV are of one moment and
add up. The numbers are those of E-14, E-15 and E-28.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from usage.buckets import HOURS_A_DAY, day_of, hour_of, month_of, start_of
from usage.models import Grain
from usage.reports.sums import Filters, Question, ask
from usage.reports.windows import FIRST_HOUR, Window

Row = dict[str, Any]
LEAST_MONTHS = 6  # shown of everything there is, so that a young server's bars have a width


@dataclass(slots=True)
class Sums:
    """What is added up. `cost` is in 10⁻⁹ of the currency."""

    requests: int = 0
    errors: int = 0
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    cost: int = 0

    @property
    def total(self) -> int:
        return self.prompt + self.completion

    def add(self, row: Row) -> None:
        """A row of `ask`."""
        self.requests += row["requests"]
        self.errors += row["errors"]
        self.prompt += row["prompt_tokens"]
        self.cached += row["cached_tokens"]
        self.completion += row["completion_tokens"]
        self.cost += row["cost"]


@dataclass(slots=True)
class Column:
    """One bucket of time; `grain` says how wide it is."""

    start: datetime
    grain: Grain
    sums: Sums = field(default_factory=Sums)


@dataclass(slots=True)
class Line:
    """One row of a table. `share` is its tokens in per cent of the row with the most.

    `source` is set where the lines are by key and source; `key_id` and `name` then of the key.
    """

    name: str
    sums: Sums = field(default_factory=Sums)
    source: str = ""
    key_id: str | None = None
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Overview:
    window: Window
    rows: list[Row]
    totals: Sums
    columns: list[Column]
    models: list[Line]
    sources: list[Line]

    @property
    def is_empty(self) -> bool:
        return not self.totals.requests and not self.totals.errors


def own_overview(window: Window, user_id: str) -> Overview:
    """One person's, by model, and by key and source."""
    rows = ask(Question(window, ["model", "source", "key"], Filters(user_id=user_id)))
    sources = _lines(rows, _of_source, _source_of)
    return _overview(window, rows, sources)


def everybodys_overview(window: Window) -> Overview:
    """Everybody's, by model."""
    return _overview(window, ask(Question(window, ["model"])), [])


def _overview(window: Window, rows: list[Row], sources: list[Line]) -> Overview:
    totals = Sums()
    for row in rows:
        totals.add(row)
    models = _lines(rows, lambda row: row["model"], lambda row: Line(row["model"]))
    return Overview(window, rows, totals, _columns(window, rows), models, sources)


def _of_source(row: Row) -> Any:
    return (row["source"], row["api_key_id"])


def _source_of(row: Row) -> Line:
    return Line(row["api_key_name"] or "", source=row["source"], key_id=row["api_key_id"])


def _lines(
    rows: Iterable[Row], by: Callable[[Row], Any], make: Callable[[Row], Line]
) -> list[Line]:
    """A line for each value of `by`, most tokens first."""
    found: dict[Any, Line] = {}
    for row in rows:
        line = found.setdefault(by(row), make(row))
        line.name = make(row).name or line.name  # the latest name of a key
        line.sums.add(row)
    lines = sorted(
        found.values(), key=lambda line: (-line.sums.total, -line.sums.requests, line.name)
    )
    share_out(lines)
    return lines


def share_out(lines: list[Line]) -> None:
    """Set each line's `share`."""
    most = max((line.sums.total for line in lines), default=0)
    for line in lines:
        line.share = 100 * line.sums.total / most if most else 0.0


def _columns(window: Window, rows: list[Row]) -> list[Column]:
    """Every bucket of the window, empty ones too; from the first with anything where it has no start."""
    grain = window.grain
    assert grain is not None  # noqa: S101  # a page's window has buckets
    first, last = _ends(window, grain)
    if window.first == FIRST_HOUR:
        first = min((row["bucket"] for row in rows), default=last)
        first = max(0, min(first, last - LEAST_MONTHS + 1))
    columns = {bucket: Column(start_of(grain, bucket), grain) for bucket in range(first, last + 1)}
    for row in rows:
        columns[row["bucket"]].sums.add(row)
    return list(columns.values())


def _ends(window: Window, grain: Grain) -> tuple[int, int]:
    """The buckets of the first hour and of now."""
    hours = (window.first, min(window.past - 1, hour_of(window.end)))
    if grain == Grain.HOUR:
        return hours
    first, last = (hour // HOURS_A_DAY for hour in hours)
    return (first, last) if grain == Grain.DAY else (month_of(day_of(hours[0])), month_of(last))
