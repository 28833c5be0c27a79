"""The tables of usage: what happened, its sums, what it costs, and what may be used."""

from usage.models.events import JournalMark, RetentionMark, UsageEvent, UsageSeries
from usage.models.prices import Price
from usage.models.quotas import QuotaRule
from usage.models.rollups import BooksCheck, Grain, ModelRollup, UsageRollup
from usage.models.traces import EngineTrace, RequestTrace, TraceContent

__all__ = [
    "BooksCheck",
    "EngineTrace",
    "Grain",
    "JournalMark",
    "ModelRollup",
    "Price",
    "QuotaRule",
    "RequestTrace",
    "RetentionMark",
    "TraceContent",
    "UsageEvent",
    "UsageRollup",
    "UsageSeries",
]
