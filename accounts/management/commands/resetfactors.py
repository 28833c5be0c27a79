"""Remove somebody's second factors, who lost their device and their recovery codes."""

from typing import Any

from accounts.audit import CLI
from accounts.factors.authenticators import remove_all
from accounts.management.account_command import AccountCommand
from accounts.models import User


class Command(AccountCommand):
    help = "Remove all second factors of the account with this address."

    def work(self, user: User, options: dict[str, Any]) -> None:
        remove_all(user, by=CLI)
        self.stdout.write(f"{user.email} signs in without a second factor now.")
