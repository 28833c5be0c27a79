"""Operations in the sidebar: what is under way, what failed, and what has just ended."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from inference import operations
from inference.api.operations import can_be_cancelled
from inference.models import Operation, OperationState
from inference.operations import OPEN
from inference.said import said

SHOWN = 3
JUST_ENDED = timedelta(seconds=30)
FAST_MS, SLOW_MS = 1000, 15000
_MOST = 50

_WORDS: dict[tuple[str, str], str | Promise] = {
    ("install", "now"): pgettext_lazy("before a name", "Installing"),
    ("install", "done"): pgettext_lazy("before a name", "Installed"),
    ("install", "failed"): _("Not installed:"),
    ("install", "cancelled"): _("Cancelled:"),
    ("delete", "now"): pgettext_lazy("before a name", "Deleting"),
    ("delete", "done"): pgettext_lazy("before a name", "Deleted"),
    ("delete", "failed"): _("Not deleted:"),
    ("delete", "cancelled"): _("Cancelled:"),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """One operation as the panel shows it. `stage` is now, done, failed or cancelled."""

    id: str
    name: str
    stage: str
    words: str | Promise
    progress: int
    message: str
    can_cancel: bool
    is_queued: bool


def _shown(row: Operation) -> Shown:
    stage = "now" if row.state in OPEN else str(row.state)
    return Shown(
        id=str(row.pk),
        name=row.asked_for or row.target,
        stage=stage,
        words=_WORDS[row.action, stage],
        progress=row.progress,
        message=said(row.message),
        can_cancel=can_be_cancelled(row),
        is_queued=row.state == OperationState.QUEUED,
    )


def panel_context() -> dict[str, Any]:
    """What `partials/operations.html` needs: one query.

    What has just ended comes along unseen, so that the page can say how it ended.
    """
    all_shown = [_shown(row) for row in operations.not_over(JUST_ENDED)[:_MOST]]
    under_way = [each for each in all_shown if each.stage == "now"]
    failed = [each for each in all_shown if each.stage == "failed"]
    listed = [*under_way, *failed]
    return {
        "listed": listed[:SHOWN],
        "more": max(0, len(listed) - SHOWN),
        "all": all_shown,
        "first": under_way[0] if under_way else None,
        "every_ms": FAST_MS if under_way else SLOW_MS,
    }
