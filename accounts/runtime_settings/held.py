"""What one process knows of the stored settings, and whether that is still true.

Asking whether it is costs eight bytes of shared memory (`core.generations`). The lane only reads what
is known and has a keeper beside it; everything else looks first, and reads again where it moved.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from accounts.credentials import DigestedKeys
from core.errors import UnavailableError
from core.generations import SETTINGS, Generations

log = logging.getLogger("gatehouse.settings")
AGAIN_S = 1.0  # a database that did not answer is left alone for so long


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """What the table holds, by key, and the legacy keys among it in the form that is compared."""

    values: Mapping[str, Any] = field(default_factory=dict)
    keys: DigestedKeys | None = None


class Held:
    """`load` asks the database. Threads may use one together: what was read late is read again."""

    def __init__(
        self,
        load: Callable[[], Stored],
        generations: Callable[[], Generations],
        *,
        lost: tuple[type[Exception], ...],
    ) -> None:
        self._load = load
        self._generations = generations
        self._lost = lost
        self._known: tuple[int, Stored] | None = None
        self._not_before = 0.0

    def known(self) -> Stored:
        """What was read last. Raises UnavailableError where nothing ever was: then nobody can say
        whether a key is asked for, and guessing could open the server.
        """
        if self._known is None:
            raise UnavailableError("The settings could not be read yet.", retry_after_s=2)
        return self._known[1]

    def is_stale(self) -> bool:
        return self._known is None or self._known[0] != self._generations().read(SETTINGS)

    def refresh(self) -> None:
        """Read again. Raises what the database raises."""
        moved = self._generations().read(SETTINGS)
        self._known = (moved, self._load())

    def fresh(self) -> Stored:
        """What is stored now. Where the database is away, what is known stays true."""
        if self.is_stale() and time.monotonic() >= self._not_before:
            try:
                self.refresh()
            except self._lost as exc:
                self._not_before = time.monotonic() + AGAIN_S
                log.warning("settings were not read: %s", type(exc).__name__)
        return self.known()

    def forget(self) -> None:
        """Read anew when next asked; for tests, whose rows vanish without a change."""
        self._known, self._not_before = None, 0.0

    @property
    def holds_any(self) -> bool:
        return self._known is not None and bool(self._known[1].values)
