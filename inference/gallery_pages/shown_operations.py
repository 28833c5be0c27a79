"""Operations as these pages show them: in the panel on top, and on the card or row they concern."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from inference import operations
from inference.api.operations import can_be_cancelled, eta_in_s
from inference.models import Operation, OperationState
from inference.operation_panel import FAST_MS, SLOW_MS
from inference.operations import OPEN
from inference.said import said

JUST_ENDED = timedelta(minutes=10)  # as long as a hidden tab's card may show an older state
_MOST = 200
Stage = Literal["queued", "now", "cancelling", "failed", "done", "cancelled"]


@dataclass(frozen=True, slots=True)
class Shown:
    """One operation; sizes in bytes and the rest of the time in seconds are None where nobody knows."""

    id: str
    kind: str
    target: str
    asked_for: str
    stage: Stage
    is_deletion: bool
    is_upgrade: bool
    progress: int
    message: str
    done: int | None
    total: int | None
    eta_s: int | None
    asked_by: str
    can_cancel: bool

    @property
    def is_open(self) -> bool:
        return self.stage in {"queued", "now", "cancelling"}


@dataclass(frozen=True, slots=True)
class Going:
    """What is under way, failed and not dismissed, or has just ended: one query, the oldest first."""

    rows: tuple[Shown, ...]

    @property
    def listed(self) -> list[Shown]:
        """For the panel: what is under way, then what failed."""
        is_open = [each for each in self.rows if each.is_open]
        return [*is_open, *(each for each in self.rows if each.stage == "failed")]

    @property
    def every_ms(self) -> int:
        return FAST_MS if any(each.is_open for each in self.rows) else SLOW_MS

    def of(self, kind: str, *names: str) -> Shown | None:
        """The latest that concerns a model or backend, by its name here or as somebody asked for it."""
        for each in reversed(self.rows):
            if each.kind == kind and (each.target in names or each.asked_for in names):
                return each
        return None


def going_on(upgrading: Iterable[str] = ()) -> Going:
    """`upgrading`: the backends that are here; installing one of them again is an upgrade."""
    here = set(upgrading)
    return Going(tuple(shown(row, here) for row in operations.not_over(JUST_ENDED)[:_MOST]))


def shown(row: Operation, backends_here: set[str]) -> Shown:
    is_backend = row.kind == Operation.Kind.BACKEND
    return Shown(
        id=str(row.pk),
        kind=row.kind,
        target=row.target,
        asked_for=row.asked_for,
        stage=_stage(row),
        is_deletion=row.is_deletion,
        is_upgrade=is_backend and not row.is_deletion and row.target in backends_here,
        progress=row.progress,
        message=said(row.message),
        done=row.current_bytes,
        total=row.total_bytes,
        eta_s=eta_in_s(row),
        asked_by=row.asked_by,
        can_cancel=can_be_cancelled(row),
    )


def _stage(row: Operation) -> Stage:
    if row.state in OPEN and row.cancel_asked:
        return "cancelling"
    stages: dict[str, Stage] = {
        OperationState.QUEUED: "queued",
        OperationState.RUNNING: "now",
        OperationState.FAILED: "failed",
        OperationState.DONE: "done",
        OperationState.CANCELLED: "cancelled",
    }
    return stages[row.state]
