"""Put a new secret in front of the others, or retire an old one (S-46)."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts import secret_versions
from core.errors import GatehouseError


class Command(BaseCommand):
    help = "Add a secret that signs from the next start on; --retire ID forgets an old one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--retire", metavar="ID", default="")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            if options["retire"]:
                self._retire(options["retire"], sure=options["yes"])
            else:
                made = secret_versions.add()
                self.stdout.write(f"Secret {made} signs once the server is started again.")
        except GatehouseError as exc:
            raise CommandError(exc.message) from exc

    def _retire(self, key_id: str, *, sure: bool) -> None:
        for what, count in secret_versions.depending_on(key_id).items():
            self.stdout.write(f"{count} {what}")
        if not sure and input("They end with it. Retire it? [y/N] ").strip().lower() != "y":
            raise CommandError("Nothing was changed.")
        secret_versions.retire(key_id)
        self.stdout.write(f"Secret {key_id} is gone once the server is started again.")
