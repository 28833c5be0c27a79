"""What a proven address does: verification, forgotten and reset passwords (S-25, S-32, S-33)."""

from django.db import transaction
from django.utils import timezone

from accounts import api_keys
from accounts.audit import Actor, record
from accounts.changes import change_of_rights, credentials_added
from accounts.mail import letters, proofs
from accounts.models import Provider, Role, Session, Status, User
from accounts.passwords import check_password_rules
from accounts.people import subject
from accounts.runtime_settings.in_force import registration_mode


def forgotten(email: str) -> None:
    """Send a link for a new password, where there is an account that has one. Says nothing."""
    user = User.objects.filter(email=email.strip().lower(), provider=Provider.LOCAL).first()
    if user is not None and user.status != Status.DISABLED:
        letters.write("reset", user)


def reset_password(proof: str, password: str, *, acknowledged: bool, by: Actor) -> User:
    """Set a new password by the mailed link. Sessions end; so do the keys of an account that had
    never proven its address, for whoever made them may be somebody else (S-32).

    Raises ProofError and PasswordError.
    """
    user = proofs.user_of_reset(proof)
    if user.status == Status.DISABLED:
        raise proofs.ProofError
    check_password_rules(
        password, acknowledged=acknowledged, for_admin=user.role == Role.ADMIN, hints=[user.email]
    )
    was_proven = user.email_verified_at is not None
    user.set_password(password)  # slow by design, so before the transaction
    with change_of_rights(user.pk):
        Session.objects.filter(user=user).delete()
        if not was_proven and user.role != Role.ADMIN:
            api_keys.revoke_all(user, by=by)
        user.must_change_password = False
        user.save(update_fields=["password", "must_change_password"])
        record("password_reset", by, subject(user))
        _prove(user, by=by)
    return user


def verify(proof: str, *, by: Actor) -> User:
    """Note that the address is proven; in open mode the account becomes active by it (S-32)."""
    user = proofs.user_of_verification(proof)
    with change_of_rights(user.pk):
        _prove(user, by=by)
    return user


def _prove(user: User, *, by: Actor) -> None:
    if user.email_verified_at is None:
        user.email_verified_at = timezone.now()
        user.save(update_fields=["email_verified_at"])
        record("email_verified", by, subject(user))
    if user.status == Status.PENDING and registration_mode() == "open":
        credentials_added()
        user.status = Status.ACTIVE
        user.save(update_fields=["status"])
        after = {"status": Status.ACTIVE.value}
        record("status_changed", by, subject(user), before={"status": "pending"}, after=after)


@transaction.atomic
def send_again(email: str) -> None:
    """The link that proves an address, once more. Says nothing of who is there."""
    user = User.objects.filter(email=email.strip().lower(), email_verified_at=None).first()
    if user is not None and user.status != Status.DISABLED:
        letters.write("verify", user)
