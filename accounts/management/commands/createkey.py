"""Make an API key for an account and print it."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from accounts import api_keys
from accounts.audit import CLI
from accounts.management.account_command import AccountCommand
from accounts.models import User
from core.durations import parse_duration


class Command(AccountCommand):
    help = "Make an API key and print it; it is shown only this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--name", default="made by manage.py")
        parser.add_argument("--expires", default="", help="such as 90d, 1y or 24h; never if empty")

    def work(self, user: User, options: dict[str, Any]) -> None:
        try:
            lifetime = parse_duration(options["expires"]) if options["expires"] else None
        except ValueError as exc:
            raise CommandError("--expires wants a duration such as 90d, 1y or 24h") from exc
        expires_at = timezone.now() + lifetime if lifetime is not None else None
        name = options["name"].strip()[:100]
        if not name:
            raise CommandError("--name is empty")
        _, secret = api_keys.create(user, name=name, expires_at=expires_at, by=CLI)
        self.stdout.write(secret)
