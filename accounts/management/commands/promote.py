"""Make an account an admin, on the word of whoever may run commands on the server (S-01)."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import Role, Status, User
from accounts.people import set_role, set_status


class Command(BaseCommand):
    help = "Make the account with this address an active admin."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email")

    def handle(self, *_args: Any, **options: Any) -> None:
        user = User.objects.filter(email=options["email"].strip().lower()).first()
        if user is None:
            raise CommandError("No account has this address.")
        set_role(user.pk, Role.ADMIN)
        set_status(user.pk, Status.ACTIVE)
        self.stdout.write(f"{user.email} is an admin now.")
