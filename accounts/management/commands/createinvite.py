"""Make an invite and print its link."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts import invites
from accounts.audit import CLI
from accounts.runtime import env


class Command(BaseCommand):
    help = "Make an invite and print its link, which is shown only this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--hours", type=int, default=invites.DEFAULT_HOURS)

    def handle(self, *_args: Any, **options: Any) -> None:
        if not 1 <= options["hours"] <= invites.MAX_HOURS:
            raise CommandError(f"--hours must be between 1 and {invites.MAX_HOURS}")
        _, code = invites.create(
            created_by=None, hours=options["hours"], now=timezone.now(), by=CLI
        )
        self.stdout.write(f"{env().public_url}/invite/{code}")
