"""Emptying a list of traces, what is still in the journal included; in the audit trail."""

from typing import Literal

from django.db import transaction

from accounts.audit import Actor, Subject, record
from usage.reports.freshness import bring_in
from usage.traces import rows

Kind = Literal["traces", "backend traces"]


def clear(kind: Kind, by: Actor) -> None:
    """Forget every request, with what was kept of it, or every call of an engine."""
    bring_in()
    with transaction.atomic():
        if kind == "traces":
            rows.clear_requests()
        else:
            rows.clear_engine_calls()
        record("traces_cleared", by, Subject("", kind))
