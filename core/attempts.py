"""Counted attempts in a sliding window, shared by every process of one machine.

A SQLite file of its own under the data path: its locking and crash safety are what a hand-made
counter file would have to repeat, and a sign-in can afford the millisecond. Django's cache is per
process and so decides nothing about security. Old rows go with each new one.
"""

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from core.files import exclusive

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` attempts in any `window_s` seconds; a count of 0 means no limit."""

    count: int
    window_s: float

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """`5/m`, `2/s`, `100/h` or `0`. Raises ValueError on anything else."""
        if text == "0":
            return cls(0, 1.0)
        count, slash, unit = text.partition("/")
        if not slash or not count.isdigit() or unit not in _UNITS or int(count) < 1:
            raise ValueError("wants N/s, N/m, N/h or 0")
        return cls(int(count), _UNITS[unit])


class Attempts:
    """Counts attempts by (kind, who). Methods are synchronous and short."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_made = False

    def _connect(self) -> sqlite3.Connection:
        if not self._is_made:
            with exclusive(self._path.with_suffix(".lock")):  # SQLite waits for no lock while it
                connection = self._open()  # changes to WAL
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS attempt (kind TEXT, who TEXT, at REAL, until REAL)"
                )
                connection.execute(
                    "CREATE INDEX IF NOT EXISTS attempt_who ON attempt (kind, who, at)"
                )
                connection.close()
            self._is_made = True
        return self._open()

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=10, isolation_level=None)

    def take(self, kind: str, who: str, rate: Rate, *, now: float | None = None) -> float:
        """Count one attempt. 0.0 where it is admitted, else the seconds until the next one is.

        A refused attempt is not counted, so that it does not extend the window.
        """
        if rate.count == 0:
            return 0.0
        now = time.time() if now is None else now
        connection = self._connect()
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("DELETE FROM attempt WHERE until < ?", (now,))
            rows = connection.execute(
                "SELECT at FROM attempt WHERE kind=? AND who=? AND at > ? ORDER BY at DESC LIMIT ?",
                (kind, who, now - rate.window_s, rate.count),
            ).fetchall()
            if len(rows) >= rate.count:
                connection.execute("COMMIT")
                return max(0.001, float(rows[-1][0]) + rate.window_s - now)
            connection.execute(
                "INSERT INTO attempt VALUES (?,?,?,?)", (kind, who, now, now + rate.window_s)
            )
            connection.execute("COMMIT")
            return 0.0
        finally:
            connection.close()

    def count(self, kind: str, who: str, *, window_s: float, now: float | None = None) -> int:
        """How many were counted in the last `window_s` seconds."""
        now = time.time() if now is None else now
        connection = self._connect()
        try:
            (found,) = connection.execute(
                "SELECT COUNT(*) FROM attempt WHERE kind=? AND who=? AND at > ?",
                (kind, who, now - window_s),
            ).fetchone()
            return int(found)
        finally:
            connection.close()

    def forget(self, kind: str, who: str) -> None:
        """Drop what was counted for one (kind, who)."""
        connection = self._connect()
        try:
            connection.execute("DELETE FROM attempt WHERE kind=? AND who=?", (kind, who))
        finally:
            connection.close()
