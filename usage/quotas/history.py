"""What a rule's window held before anybody counted it: from the books, for new counters.

Windows of up to a week are counted event by event, longer ones (and those that reach back to where
single events are gone) by the hour.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from usage.buckets import HOUR_MS, first_id, hour_of
from usage.models import Grain, UsageEvent, UsageRollup, UsageSeries
from usage.quotas.terms import Rule
from usage.retention import expired_before

BY_EVENT_S = 7 * 24 * 3600
Used = tuple[float, int, int, int]  # moment (epoch s), requests, tokens, cost


def used(rule: Rule, now: float) -> Iterator[Used]:
    """What the rule counts of the window that ends at `now`."""
    series = UsageSeries.objects.filter(user_id=rule.user_id)
    if rule.key_id is not None:
        series = series.filter(api_key_id=rule.key_id)
    if rule.model:
        series = series.filter(model=rule.model)
    numbers = list(series.values_list("id", flat=True))
    if not numbers:
        return
    cut = expired_before()
    # Buckets are counted whole, so one before the window's begin counts in part
    start = datetime.fromtimestamp(now - rule.window_s - rule.bucket_s, tz=UTC)
    by_event = rule.window_s <= BY_EVENT_S and (cut is None or cut < start)
    yield from (_by_event if by_event else _by_hour)(numbers, start)


def _by_event(numbers: list[int], start: datetime) -> Iterator[Used]:
    low = first_id(int(start.timestamp() * 1000))
    found = UsageEvent.objects.filter(id__gte=low, series_id__in=numbers, counted=True)
    columns = ("id", "prompt_tokens", "completion_tokens", "cost")
    for pk, prompt, completion, cost in found.values_list(*columns).iterator(chunk_size=5000):
        yield (pk.int >> 80) / 1000, 1, prompt + completion, cost


def _by_hour(numbers: list[int], start: datetime) -> Iterator[Used]:
    found = UsageRollup.objects.filter(
        grain=Grain.HOUR, bucket__gte=hour_of(start), series_id__in=numbers
    )
    columns = ("bucket", "requests", "prompt_tokens", "completion_tokens", "cost")
    for hour, requests, prompt, completion, cost in found.values_list(*columns):
        # at the hour's end: never early
        yield ((hour + 1) * HOUR_MS - 1) / 1000, requests, prompt + completion, cost
