"""`manage.py checkbooks`: whether journal, events and sums say the same."""

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from usage.books import check


class Command(BaseCommand):
    help = "Compare journal, events and sums of the last days; exit 1 where they differ."

    def handle(self, *_args: Any, **_options: Any) -> None:
        done = check(datetime.now(UTC))
        for finding in done.report["findings"]:
            self.stdout.write(f"{finding['what']}: {finding['difference']}")
            if finding["difference"]:
                for name, sums in finding.get("sums", {}).items():
                    self.stdout.write(f"    {name}: {sums}")
        if done.difference:
            raise CommandError(f"The books differ by {done.difference}.")
        self.stdout.write("The books balance.")
