"""The window of a report, and the rollup rows that make it up (contract 5.4, S-50)."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from core.errors import InvalidRequestError
from usage.buckets import HOURS_A_DAY, day_of, first_day, hour_of, month_of
from usage.models import Grain

DEFAULT_PERIOD = "month"
GRAINS = {"hour": Grain.HOUR, "day": Grain.DAY, "month": Grain.MONTH}
MAX_BUCKETS = 10_000
FIRST_HOUR = 0


@dataclass(frozen=True, slots=True)
class Window:
    """Hours `[first, past)` since 1970, and the width of the report's buckets (None: one sum).

    `first` of FIRST_HOUR means from the beginning. `end` is the moment the report was asked for, or
    the end that was asked for.
    """

    first: int
    past: int
    end: datetime
    grain: Grain | None

    @property
    def start(self) -> datetime | None:
        """When it begins; None from the beginning."""
        if self.first == FIRST_HOUR:
            return None
        return datetime.fromtimestamp(self.first * 3600, tz=UTC)


_PERIODS: dict[str, tuple[timedelta | None, Grain]] = {
    "day": (timedelta(hours=24), Grain.HOUR),
    "week": (timedelta(days=7), Grain.DAY),
    "month": (timedelta(days=30), Grain.DAY),
    "all": (None, Grain.MONTH),
}


def rolling_window(period: str, now: datetime, bucket: str = "") -> Window:
    """The window of a period, which begins with its hour; `month` where none is named.

    Its buckets have the period's own width, or that of `bucket` (hour, day, month, none). Raises
    InvalidRequestError for an unknown period (S-20) or bucket.
    """
    found = _PERIODS.get(period or DEFAULT_PERIOD)
    if found is None:
        raise InvalidRequestError(f"period must be one of {', '.join(_PERIODS)}", param="period")
    length, grain = found
    first = FIRST_HOUR if length is None else hour_of(now - length)
    shown = _grain(bucket) if bucket else grain
    if shown == Grain.HOUR and length is None:
        raise InvalidRequestError("that is too many hours; use a wider bucket", param="bucket")
    return Window(first, _past(now, shown), now, shown)


def _grain(bucket: str) -> Grain | None:
    if bucket not in {"none", *GRAINS}:
        names = ", ".join([*GRAINS, "none"])
        raise InvalidRequestError(f"bucket must be one of {names}", param="bucket")
    return GRAINS.get(bucket)


def _past(now: datetime, grain: Grain | None) -> int:
    """The end of a window that ends now: that of its last bucket, as nothing was used later."""
    day = day_of(hour_of(now))
    if grain == Grain.HOUR:
        return hour_of(now) + 1
    return HOURS_A_DAY * (day + 1 if grain == Grain.DAY else first_day(month_of(day) + 1))


def window_between(start: str, end: str, bucket: str, now: datetime) -> Window:
    """Any window, `[from, to)`, widened to whole hours of UTC.

    `start` and `end` are RFC 3339 moments or dates; `bucket` is hour, day, month or none. Raises
    InvalidRequestError for what is no moment, a window that ends before it begins, too many buckets.
    """
    first = hour_of(_moment(start, "from")) if start else FIRST_HOUR
    until = _moment(end, "to") if end else now
    grain = _grain(bucket or "day")
    past = hour_of(until - timedelta(milliseconds=1)) + 1 if end else _past(now, grain)
    if past <= first:
        raise InvalidRequestError("to must be later than from", param="to")
    if grain == Grain.HOUR and past - first > MAX_BUCKETS:
        raise InvalidRequestError("that is too many hours; use a wider bucket", param="bucket")
    return Window(first, past, until, grain)


def _moment(text: str, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise InvalidRequestError(
            f"{name} must be a moment such as 2026-03-18T14:00:00Z, or a date", param=name
        ) from exc
    if not 1970 <= moment.year < 2200:
        raise InvalidRequestError(f"{name} is out of range", param=name)
    return moment


class Span(NamedTuple):
    """Rollup rows of one grain, buckets `first` to `last`, which the report shows as `shown`.

    `shown` of None: each as its own bucket.
    """

    grain: Grain
    first: int
    last: int
    shown: int | None


def spans(window: Window) -> list[Span]:
    """The fewest rollup rows that are exactly the window: months where they fit, days, hours at its ends."""
    if window.grain == Grain.HOUR:
        return [Span(Grain.HOUR, window.first, window.past - 1, None)]
    found: list[Span] = []
    hour = window.first
    while hour < window.past:
        hour = _next(window, hour, found)
    return _joined(found)


def _next(window: Window, hour: int, found: list[Span]) -> int:
    """Add the widest span that begins at `hour`; the hour after it."""
    day = day_of(hour)
    month = month_of(day)
    day_ends = (day + 1) * HOURS_A_DAY
    month_ends = first_day(month + 1) * HOURS_A_DAY
    shown = _shown(window, day)
    begins_month = hour == first_day(month) * HOURS_A_DAY
    if window.grain != Grain.DAY and begins_month and month_ends <= window.past:
        own = window.grain == Grain.MONTH
        found.append(Span(Grain.MONTH, month, month, None if own else shown))
        return month_ends
    if hour % HOURS_A_DAY == 0 and day_ends <= window.past:
        own = window.grain == Grain.DAY
        found.append(Span(Grain.DAY, day, day, None if own else shown))
        return day_ends
    past = min(day_ends, window.past)
    found.append(Span(Grain.HOUR, hour, past - 1, shown))
    return past


def _shown(window: Window, day: int) -> int:
    if window.grain is None:
        return 0
    return day if window.grain == Grain.DAY else month_of(day)


def _joined(found: list[Span]) -> list[Span]:
    """Neighbours that read alike as one."""
    joined: list[Span] = []
    for span in found:
        before = joined[-1] if joined else None
        if before and (before.grain, before.shown) == (span.grain, span.shown):
            joined[-1] = before._replace(last=span.last)
        else:
            joined.append(span)
    return joined
