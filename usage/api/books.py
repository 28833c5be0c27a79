"""`GET` and `POST /api/accounting` (R-29): whether journal, events and rollups say the same."""

from typing import Any

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import AccountView
from accounts.api.shapes import timestamp
from core.declared import declares
from usage import books
from usage.api import shapes
from usage.backlog import backlog_now
from usage.models import BooksCheck
from usage.retention import kept_for


class AccountingView(AccountView):
    """The latest comparison; `POST` makes one now, one at a time."""

    @declares("Whether the books balance", answer=shapes.Accounting)
    def get(self, _request: Request) -> Response:
        return Response(_shown(books.latest()))

    @declares("Compare the books now", answer=shapes.Accounting, errors=(409,))
    def post(self, _request: Request) -> Response:
        return Response(_shown(books.check_now(timezone.now())))


def _shown(done: BooksCheck | None) -> dict[str, Any]:
    """`events` and `rollups` are requests and errors of the last days, as the comparison found them."""
    waiting, keep = backlog_now(), kept_for()
    sums = books.summary(done) if done else None
    findings = done.report["findings"] if done else []
    return {
        "journal": {
            "bytes": waiting.n_bytes,
            "segments": waiting.n_segments,
            "oldest_seconds": round(waiting.oldest_s, 3),
            "rejected_bytes": waiting.rejected_bytes,
            "records": sums["journal"] if sums else None,
        },
        "events": sums["events"] if sums else None,
        "rollups": {"hours": sums["hours"], "days": sums["days"]} if sums else None,
        "difference": done.difference if done else None,
        "findings": [each for each in findings if each["difference"]],
        "checked_at": timestamp(done.at) if done else None,
        "days": books.DAYS,
        "events_kept_seconds": int(keep.total_seconds()) if keep else None,
    }
