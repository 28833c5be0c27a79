"""`manage.py rebuildrollups`: sums made anew from events, while the server runs."""

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from usage.books import check
from usage.buckets import day_of, hour_of, label
from usage.models import Grain
from usage.rebuild import days_with_events, months_of, rebuild_day, rebuild_month


class Command(BaseCommand):
    help = "Make hour, day and month sums anew from single events. The server may run meanwhile."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--from", dest="first", help="first day, YYYY-MM-DD (the oldest kept)")
        parser.add_argument("--to", dest="last", help="last day, YYYY-MM-DD (today)")

    def handle(self, *_args: Any, first: str | None, last: str | None, **_options: Any) -> None:
        now = datetime.now(UTC)
        days = days_with_events(now)
        chosen = range(
            max(days.start, _day(first)) if first else days.start,
            min(days.stop, _day(last) + 1) if last else days.stop,
        )
        for done, day in enumerate(chosen, 1):
            events = rebuild_day(day)
            told = "left as it is, events of it are gone" if events is None else f"{events} events"
            self.stdout.write(f"{label(Grain.DAY, day)}: {told} ({done} of {len(chosen)})")
        for month in months_of(chosen):
            rebuild_month(month)  # days that were left alone have kept their sums
            self.stdout.write(f"{label(Grain.MONTH, month)}: made anew from its days")
        difference = check(datetime.now(UTC)).difference
        self.stdout.write(f"The books differ by {difference}.")
        if difference:
            raise CommandError("They should not; `manage.py checkbooks` says where.")


def _day(text: str) -> int:
    try:
        moment = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as exc:
        raise CommandError(f"{text}: wants a day such as 2026-03-18") from exc
    return day_of(hour_of(moment))
