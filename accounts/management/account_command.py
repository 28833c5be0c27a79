"""What the commands about one account have in common."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import User
from core.errors import GatehouseError


class AccountCommand(BaseCommand):
    """A command whose first argument is the address of an account; errors are one line."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email")

    def handle(self, *_args: Any, **options: Any) -> None:
        user = User.objects.filter(email=options["email"].strip().lower()).first()
        if user is None:
            raise CommandError("No account has this address.")
        try:
            self.work(user, options)
        except GatehouseError as exc:
            raise CommandError(exc.message) from exc

    def work(self, user: User, options: dict[str, Any]) -> None:
        raise NotImplementedError
