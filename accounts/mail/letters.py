"""Which letters there are, and putting one into the queue, in the transaction of what it is about."""

from typing import Literal

from accounts.models import User
from accounts.runtime import attempts, env
from core.attempts import Rate

Kind = Literal["verify", "reset", "taken", "approval_wanted", "approved", "refused"]
# So that a flood of registrations is no flood of mail: one letter to the admins in ten minutes.
_APPROVALS = Rate(1, 600.0)


def is_configured() -> bool:
    """Whether mail leaves this server, and so whether an address can be proven by it (S-32)."""
    return bool(env().email_url)


def write(kind: Kind, user: User) -> None:
    """Queue a letter about `user`; to the admins where they are asked for approval."""
    from accounts.mail.tasks import send_letter  # the task names this package's templates

    if kind == "approval_wanted" and attempts().take("approval-letter", "all", _APPROVALS):
        return
    # who is declined has no account any more when it is sent
    address = user.email if kind == "refused" else ""
    send_letter.enqueue(kind, str(user.pk), 1, address)
