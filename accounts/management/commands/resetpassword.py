"""Give a local account a password that it has to change at the next sign-in."""

import secrets
import sys
from argparse import ArgumentParser
from typing import Any

from accounts.audit import CLI
from accounts.management.account_command import AccountCommand
from accounts.models import User
from accounts.people import reset_password


class Command(AccountCommand):
    help = "Reset a password: prints a new one, or reads it with --stdin. Sessions end, keys stay."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--stdin", action="store_true", help="read the password's one line")

    def work(self, user: User, options: dict[str, Any]) -> None:
        given = sys.stdin.readline().rstrip("\n") if options["stdin"] else ""
        password = given or secrets.token_urlsafe(18)
        reset_password(user.pk, password, acknowledged=False, by=CLI)
        if not given:
            self.stdout.write(password)
        self.stderr.write(f"{user.email} signs in with it once, then chooses another.")
