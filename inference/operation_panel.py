"""Operations in the sidebar: what is under way, what failed, and what has just ended."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from inference.models import Operation, OperationState
from inference.operations import OPEN

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
    is_running = row.state == OperationState.RUNNING
    return Shown(
        id=str(row.pk),
        name=row.asked_for or row.target,
        stage=stage,
        words=_WORDS[row.action, stage],
        progress=row.progress,
        message=row.message,
        can_cancel=row.state in OPEN
        and not row.cancel_asked
        and not (is_running and row.is_deletion),
        is_queued=row.state == OperationState.QUEUED,
    )


def panel_context() -> dict[str, Any]:
    """What `partials/operations.html` needs: one query.

    What has just ended comes along unseen, so that the page can say how it ended.
    """
    just_now = timezone.now() - JUST_ENDED
    wanted = (
        Q(state__in=OPEN)
        | Q(state=OperationState.FAILED, dismissed=False)
        | Q(finished_at__gte=just_now, dismissed=False)
    )
    rows = Operation.objects.filter(wanted).defer("log_tail", "details").order_by("created_at")
    all_shown = [_shown(row) for row in rows[:_MOST]]
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
