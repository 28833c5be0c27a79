"""Make an account an admin, on the word of whoever may run commands on the server (S-01)."""

from typing import Any

from accounts.audit import CLI
from accounts.management.account_command import AccountCommand
from accounts.models import Role, Status, User
from accounts.people import set_role, set_status


class Command(AccountCommand):
    help = "Make the account with this address an active admin."

    def work(self, user: User, options: dict[str, Any]) -> None:
        set_role(user.pk, Role.ADMIN, by=CLI)
        set_status(user.pk, Status.ACTIVE, by=CLI)
        self.stdout.write(f"{user.email} is an admin now.")
