"""Events of a year and their sums, made by numpy: what `bench.usage` asks reports of.

The shape. Users' activity follows Zipf (the n-th has a share of 1/n); a user's keys share nine tenths
of it as 6 to 3 to 1, the rest is their browser's. A key is used with one model or with two (3 to 1),
of which one in ten is for embeddings; everything else is chat completions, six in ten of them
streamed. Hours follow a working day (UTC, most from 8 to 17, a twentieth of that at night), a day of
the week-end has a quarter of a weekday's. Tokens and durations are log-normal, a third of prompts is
partly cached, 1.5 % fail. The same seed gives the same events.

Rollups come from the same arrays as the events, by other code than `usage.ledger`'s.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from uuid import UUID

import numpy as np

from usage import histograms
from usage.buckets import DAY_MS, HOUR_MS, HOURS_A_DAY
from usage.records import Combination

DAYS, SEED = 395, 20
STATUSES = np.array([200, 400, 429, 500, 503])
N_BINS, MAX_MS = 160, 600_000
EMBEDDINGS = "/v1/embeddings"
_POOL = 1 << 20
# what a rollup adds up, in the order of usage.ledger.SUMS
N_SUMS = 8


@dataclass(frozen=True)
class Series:
    """One combination: who, with which key (-1: by browser), on which model, and its share."""

    user: int
    key: int
    model: int
    share: float


class Shape:
    """Who uses what: `series` and the tables that events are drawn from."""

    def __init__(self, users: int = 1000, keys: int = 3000, models: int = 10) -> None:
        self.users, self.keys, self.models = users, keys, models
        draw = np.random.default_rng(SEED)
        self.user_ids = [_uuid(draw) for _ in range(users)]
        self.key_ids = [_uuid(draw) for _ in range(keys)]
        self.series = list(self._made(draw))
        self.model_of = np.array([each.model for each in self.series])
        shares = np.array([each.share for each in self.series])
        cuts = np.round(np.cumsum(shares) / shares.sum() * _POOL).astype(int)
        self.pool = np.repeat(np.arange(len(self.series)), np.diff(cuts, prepend=0))

    def _made(self, draw: np.random.Generator) -> Iterator[Series]:
        for user in range(self.users):
            mine = range(user, self.keys, self.users)
            weights = [0.6, 0.3, 0.1][: len(mine)]
            yield Series(user, -1, int(draw.integers(self.models - 1)), 0.1 / (user + 1))
            for key, weight in zip(mine, weights, strict=False):
                share = 0.9 / (user + 1) * weight / sum(weights)
                first, second = draw.choice(self.models, 2, replace=False)
                if key % 2:
                    yield Series(user, key, int(first), share)
                else:
                    yield Series(user, key, int(first), share * 0.75)
                    yield Series(user, key, int(second), share * 0.25)

    def model(self, index: int) -> str:
        return f"model-{index}"

    def combination(self, each: Series) -> Combination:
        is_embeddings = each.model == self.models - 1
        return Combination(
            str(self.user_ids[each.user]),
            str(self.key_ids[each.key]) if each.key >= 0 else None,
            "apikey" if each.key >= 0 else "web",
            self.model(each.model),
            self.model(each.model),
            EMBEDDINGS if is_embeddings else "/v1/chat/completions",
            "",
        )


def _uuid(draw: np.random.Generator) -> UUID:
    return UUID(bytes=draw.bytes(16), version=4)


class Calendar:
    """How many of `n` events fall into each hour of the `DAYS` before `now`."""

    def __init__(self, n: int, now: datetime) -> None:
        self.now_ms = int(now.timestamp() * 1000)
        last = self.now_ms // HOUR_MS
        self.first_day = last // HOURS_A_DAY - DAYS
        hours = np.arange(self.first_day * HOURS_A_DAY, last + 1)
        of_day, weekday = hours % HOURS_A_DAY, (hours // HOURS_A_DAY + 3) % 7
        shape = np.exp(-(((of_day - 12.5) / 4.0) ** 2)) + 0.05
        weights = shape * np.where(weekday >= 5, 0.25, 1.0)
        weights[-1] *= (self.now_ms % HOUR_MS) / HOUR_MS
        cuts = np.round(np.cumsum(weights) / weights.sum() * n).astype(int)
        counts = np.diff(cuts, prepend=0)
        counts.resize((DAYS + 1) * HOURS_A_DAY)
        self.counts = counts.reshape(DAYS + 1, HOURS_A_DAY)

    def days_by_month(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for day in range(self.first_day, self.first_day + DAYS + 1):
            date = datetime.fromtimestamp(day * DAY_MS / 1000, tz=UTC)
            found.setdefault(date.year * 12 + date.month - 1, []).append(day)
        return found


class Day:
    """The events of one day, in the order of time, as arrays."""

    def __init__(self, shape: Shape, calendar: Calendar, day: int) -> None:
        draw = np.random.default_rng((SEED, day))
        counts = calendar.counts[day - calendar.first_day]
        n = self.n = int(counts.sum())
        self.shape, self.number = shape, day
        hours = np.repeat(np.arange(HOURS_A_DAY), counts)
        begin = (day * HOURS_A_DAY + hours) * HOUR_MS
        length = np.minimum(HOUR_MS, calendar.now_ms - begin)
        self.ms = np.sort(begin + (draw.random(n) * length).astype(np.int64))
        self.hour = (self.ms // HOUR_MS) % HOURS_A_DAY
        self.series = shape.pool[draw.integers(len(shape.pool), size=n)]
        self.model = shape.model_of[self.series]
        chat = self.model != shape.models - 1
        self.counted = draw.random(n) >= 0.015
        failed = 1 + draw.integers(len(STATUSES) - 1, size=n)
        self.status = np.where(self.counted, 0, failed)
        self.prompt = self._sizes(draw, 400, 1.0, 32_000) * self.counted
        self.completion = self._sizes(draw, 150, 0.9, 4_096) * (self.counted & chat)
        self.cached = self.prompt * (draw.random(n) < 0.33) // 32 * 16
        self.duration = np.minimum(self.completion * 12 + self._sizes(draw, 60, 0.8, 60_000), 10**6)
        self.duration = np.minimum(self.duration, MAX_MS - 1)
        self.streamed = chat & self.counted & (draw.random(n) < 0.6)
        first = np.minimum(self._sizes(draw, 120, 0.7, 60_000), self.duration)
        self.first = np.where(self.streamed, first, -1)
        self.queue = self._sizes(draw, 20, 1.0, 30_000) * (draw.random(n) < 0.2)
        self.cost = (self.prompt - self.cached) * (100 + 10 * self.model) + self.completion * 600
        self._draw = draw

    def _sizes(self, draw: np.random.Generator, middle: int, spread: float, most: int):
        drawn = np.exp(draw.standard_normal(self.n, dtype=np.float32) * np.float32(spread)) * middle
        return np.clip(drawn, 1, most).astype(np.int64)

    @cached_property
    def ids(self) -> np.ndarray:
        """UUIDv7s, 16 bytes each."""
        made = np.frombuffer(self._draw.bytes(self.n * 16), np.uint8).reshape(self.n, 16).copy()
        made[:, :6] = (self.ms << 16).astype(">i8").view(np.uint8).reshape(self.n, 8)[:, :6]
        made[:, 6] = made[:, 6] & 0x0F | 0x70
        made[:, 8] = made[:, 8] & 0x3F | 0x80
        return made

    @cached_property
    def correlations(self) -> np.ndarray:
        """The text of a UUID each, 36 characters."""
        digits = np.frombuffer(self._draw.bytes(self.n * 16).hex().encode(), np.uint8)
        made = np.full((self.n, 36), ord("-"), np.uint8)
        places = [place for place in range(36) if place not in {8, 13, 18, 23}]
        made[:, places] = digits.reshape(self.n, 32)
        return made

    def sums(self) -> np.ndarray:
        """[hour, series, sum], in the order of usage.ledger.SUMS."""
        n_series = len(self.shape.series)
        cells = self.hour * n_series + self.series
        n_cells = HOURS_A_DAY * n_series
        found = np.zeros((n_cells, N_SUMS), np.int64)
        parts = (self.counted, ~self.counted, self.prompt, self.cached, self.completion)
        for index, part in enumerate(parts):
            found[:, index] = np.bincount(cells, part, n_cells)
        found[:, 6] = np.bincount(cells, self.cost, n_cells)
        found[cells, 7] = self.ms  # the last of several stays, and time goes up
        return found.reshape(HOURS_A_DAY, n_series, N_SUMS)

    def times(self) -> np.ndarray:
        """[kind, hour, model, bin]: durations, first tokens, statuses (by their place in STATUSES)."""
        models = self.shape.models
        rows = self.hour * models + self.model
        size = HOURS_A_DAY * models * N_BINS
        told = self.first >= 0
        bins = (
            (rows[self.counted], BINS[self.duration[self.counted]]),
            (rows[told], BINS[self.first[told]]),
            (rows, self.status),
        )
        found = [np.bincount(row * N_BINS + value, minlength=size) for row, value in bins]
        return np.stack(found).reshape(3, HOURS_A_DAY, models, N_BINS)


BINS = np.array([histograms.bin_of(ms) for ms in range(MAX_MS)])


def joined(sums: np.ndarray) -> np.ndarray:
    """Sums over the first axis; of the last column the latest."""
    found = sums.sum(axis=0)
    found[..., -1] = sums[..., -1].max(axis=0)
    return found


def of_models(sums: np.ndarray, shape: Shape) -> np.ndarray:
    """[series, sum] as [model, sum]."""
    empty = np.zeros((1, N_SUMS), np.int64)
    return np.stack(
        [
            joined(np.concatenate([empty, sums[shape.model_of == each]]))
            for each in range(shape.models)
        ]
    )


def as_histograms(times: np.ndarray) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """[kind, bin] as the three JSON columns of a ModelRollup."""
    durations, firsts = ({str(i): int(each[i]) for i in np.flatnonzero(each)} for each in times[:2])
    statuses = {str(STATUSES[i]): int(times[2][i]) for i in np.flatnonzero(times[2])}
    return durations, firsts, statuses
