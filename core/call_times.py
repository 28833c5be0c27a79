"""How long calls take, by method and route: the `api_call` histogram of `/metrics`.

The lane counts in plain lists (a quarter of a microsecond a call) and a task of the worker adds them
to the shared file once a second; the slow door writes at once. The lane's thread alone calls
`record` and `publish`.
"""

from bisect import bisect_left
from contextlib import suppress

from prometheus_client import Histogram

from core import metric_files  # noqa: F401  # how files are made, before the first one is

# Seconds. From the product's own share of the time to the longest answer that an engine may take.
BOUNDS_S = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)
# What looks at the server every few seconds is not counted: it would be most of what there is.
UNCOUNTED = frozenset({"/metrics", "/api/operations"})
UNKNOWN = "unknown"  # the one path label of everything that no route is there for
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

API_CALL = Histogram(
    "api_call",
    "Seconds from a request's head to the end of its answer, by method and route",
    ["method", "path"],
    buckets=BOUNDS_S,
    registry=None,
)


class _Row:
    """The calls of one method and path since the last `publish`."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.total_s = 0.0


_rows: dict[tuple[str, str], _Row] = {}


def record(path: str, method: str, seconds: float) -> None:
    """Count one call of the lane. `path` is the route's pattern or UNKNOWN, never what was asked."""
    row = _rows.get((path, method))
    if row is None:
        row = _rows[path, method] = _Row()
    row.counts[bisect_left(BOUNDS_S, seconds)] += 1
    row.total_s += seconds


def publish() -> None:
    """Add what was counted since the last time to the shared file; where the disk is full, later."""
    with suppress(OSError):
        for (path, method), row in _rows.items():
            if not any(row.counts):
                continue
            child = API_CALL.labels(_method(method), path)
            # The library has no public way to add many observations at once.
            for bucket, count in zip(child._buckets, row.counts, strict=True):  # noqa: SLF001
                if count:
                    bucket.inc(count)
            child._sum.inc(row.total_s)  # noqa: SLF001
            row.counts = [0] * len(row.counts)
            row.total_s = 0.0


def observe(path: str, method: str, seconds: float) -> None:
    """Count one call of the slow door, whose threads may all call this at once."""
    with suppress(OSError):
        API_CALL.labels(_method(method), path).observe(seconds)


def _method(given: str) -> str:
    """A caller may send any word; a label takes the known ones."""
    return given if given in _METHODS else "other"
