"""What the books have to say, summed up in plain Python from what callers were told."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from usage.models import Grain
from usage.reports.windows import Window

HOUR_MS = 3_600_000
LABELS = {Grain.HOUR: "%Y-%m-%d %H:00", Grain.DAY: "%Y-%m-%d", Grain.MONTH: "%Y-%m"}
NOBODY = ("deleted", "Deleted user")
COUNTS = ("request_count", "error_count", "prompt_tokens", "cached_tokens", "completion_tokens")


@dataclass
class Asked:
    """One request. `told` is (counted, prompt, cached, completion) once it ended."""

    at_ms: int
    user_id: str
    user_name: str
    key_id: str | None
    source: str
    model: str
    last_progress: tuple[int, int, int] | None = None
    told: tuple[bool, int, int, int] | None = None

    def end(self, tokens: tuple[int, int, int] | None) -> None:
        """With these tokens, or None: as an error."""
        self.told = (tokens is not None, *(tokens or (0, 0, 0)))


@dataclass
class PlainBooks:
    """Every request there was, who is gone, what was charged from when on."""

    asked: list[Asked] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)
    prices: list[tuple[str, int, tuple[int, int, int]]] = field(default_factory=list)

    def usage(self, window: Window, groups: list[str], user_id: str | None = None) -> list[Any]:
        """The rows of a usage report, each as a sorted tuple of pairs, sorted."""
        rows: dict[Any, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for each in self._within(window, user_id):
            named = tuple(pair for group in groups for pair in self._names(each, group))
            if window.grain is not None:
                named = (("bucket", label(window.grain, each.at_ms)), *named)
            self._add(rows[named], each)
        return sorted(tuple(sorted((*named, *sums.items()))) for named, sums in rows.items())

    def sources(self, window: Window) -> dict[str, Any]:
        """`by_source`, `by_key` (with its last use) and `grand_total` of everybody's sources."""
        found = list(self._within(window))
        by_source: dict[str, list[Asked]] = defaultdict(list)
        by_key: dict[tuple[str, str], list[Asked]] = defaultdict(list)
        for each in found:
            by_source[each.source].append(each)
            if each.key_id is not None and each.user_id not in self.deleted:
                by_key[each.key_id, each.user_id].append(each)
        last = {key: max(each.at_ms for each in mine) for key, mine in by_key.items()}
        return {
            "by_source": {source: self._brief(mine) for source, mine in by_source.items()},
            "by_key": {key: (self._brief(mine), last[key]) for key, mine in by_key.items()},
            "grand_total": self._brief(found),
        }

    def _within(self, window: Window, user_id: str | None = None) -> Iterable[Asked]:
        for each in self.asked:
            if each.told is None or not window.first <= each.at_ms // HOUR_MS < window.past:
                continue
            who = NOBODY[0] if each.user_id in self.deleted else each.user_id
            if user_id is None or user_id == who:
                yield each

    def _names(self, each: Asked, group: str) -> list[tuple[str, str]]:
        gone = each.user_id in self.deleted
        if group == "user":
            # what somebody is called is looked at apart: they have one name, whatever it was then
            return [("user_id", NOBODY[0] if gone else each.user_id)]
        if group == "key":
            return [] if gone or each.key_id is None else [("api_key_id", each.key_id)]
        return [(group, getattr(each, group))]

    def _add(self, sums: dict[str, int], each: Asked) -> None:
        assert each.told is not None
        counted, prompt, cached, completion = each.told
        amounts = (int(counted), int(not counted), prompt, cached, completion)
        for name, amount in zip(COUNTS, amounts, strict=True):
            sums[name] += amount
        sums["total_tokens"] += prompt + completion
        sums["cost"] += self._cost(each)

    def _cost(self, each: Asked) -> int:
        in_force = [p for p in self.prices if p[0] == each.model and p[1] <= each.at_ms]
        if each.told is None or not in_force:
            return 0
        _, prompt, cached, completion = each.told
        dear, cheap, out = max(in_force, key=lambda price: price[1])[2]
        return (prompt - cached) * dear + cached * cheap + completion * out

    def _brief(self, found: list[Asked]) -> dict[str, int]:
        sums: dict[str, int] = defaultdict(int)
        for each in found:
            self._add(sums, each)
        return {
            "tokens": sums["total_tokens"],
            "requests": sums["request_count"],
            "error_count": sums["error_count"],
            "cost": sums["cost"],
        }


def label(grain: Grain, at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, tz=UTC).strftime(LABELS[grain])
