"""Let an account in that waits for approval, or that was disabled."""

from typing import Any

from accounts.audit import CLI
from accounts.management.account_command import AccountCommand
from accounts.models import Status, User
from accounts.people import set_status


class Command(AccountCommand):
    help = "Approve the account with this address."

    def work(self, user: User, options: dict[str, Any]) -> None:
        set_status(user.pk, Status.ACTIVE, by=CLI)
        self.stdout.write(f"{user.email} may sign in now.")
