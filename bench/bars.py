"""What a bench has to reach: each figure with its interval beside its bar, and whether it holds."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from bench.pairs import Ratio


@dataclass(frozen=True)
class Bar:
    """`found` holds where its whole interval is on the right side of `limit`."""

    name: str
    found: Ratio
    limit: float
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        return self.found.low >= self.limit if self.at_least else self.found.high <= self.limit

    def __str__(self) -> str:
        side = "at least" if self.at_least else "at most"
        said = "met" if self.is_met else "**not met**"
        return f"| {self.name} | {self.found} | {side} {self.limit:g} | {said} |"


@dataclass
class Table:
    """The bars of one part, printed as they come; `missed` names those that do not hold."""

    title: str
    missed: list[str] = field(default_factory=list)
    _begun: bool = False

    def add(self, *bars: Bar) -> None:
        if not self._begun:
            head = ["", f"### {self.title}", "", "| | found | to reach | |", "|---|---|---|---|"]
            print("\n".join(head), flush=True)
            self._begun = True
        for bar in bars:
            print(bar, flush=True)
            if not bar.is_met:
                self.missed.append(bar.name)

    def could_not(self, name: str, exc: Exception, *, has_bar: bool) -> None:
        """A side that could not be measured is a bar that was missed, where it has one."""
        print(f"\n{name} could not be measured: {type(exc).__name__}: {exc}\n", flush=True)
        if has_bar:
            self.missed.append(f"{name}, which could not be measured")


def exact(value: float) -> Ratio:
    """A figure that is counted, not sampled."""
    return Ratio(value, value, value)


def status(tables: Iterable[Table]) -> int:
    """Exit status of a bench: 1 where a bar was missed, said once more at the end."""
    missed = [f"{table.title}: {name}" for table in tables for name in table.missed]
    for each in missed:
        print(f"below its bar: {each}", flush=True)
    return 1 if missed else 0


__all__ = ["Bar", "Ratio", "Table", "exact", "status"]
