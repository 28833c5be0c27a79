"""What people change about their own account, whichever page or endpoint they use."""

from uuid import UUID

from django.db import transaction
from django.http import HttpRequest

from accounts import api_keys, sessions
from accounts.audit import Actor, actor_of, record
from accounts.changes import change_of_rights
from accounts.limits import note_failure, slow_down_failures
from accounts.models import Provider, Role, User
from accounts.passwords import check_password_rules
from accounts.people import subject
from core.errors import GatehouseError, InvalidRequestError


class WrongCurrentPasswordError(GatehouseError):
    status = 401
    reason = "unauthenticated"
    message = "current password is incorrect"


def set_profile(user_id: UUID, *, name: str, avatar_url: str, by: Actor) -> User:
    """Both columns are replaced (E-08); what every worker remembers of the name goes with it."""
    with change_of_rights(user_id):
        user = User.objects.get(pk=user_id)
        before = {"name": user.name, "avatar_url": user.avatar_url}
        user.name, user.avatar_url = name, avatar_url
        user.save(update_fields=["name", "avatar_url"])
        after = {"name": name, "avatar_url": avatar_url}
        record("profile_changed", by, subject(user), before=before, after=after)
    return user


def refuse_without_password(user: User) -> None:
    """Raise InvalidRequestError for an account that signs in elsewhere."""
    if user.provider != Provider.LOCAL:
        raise InvalidRequestError("password change is only available for local accounts")


def change_password(
    request: HttpRequest,
    user: User,
    *,
    current: str,
    new: str,
    acknowledged: bool,
    revoke_api_keys: bool,
) -> None:
    """Set a new password; all sessions end and this browser gets a new one (E-09, S-06).

    Raises InvalidRequestError, PasswordError, WrongCurrentPasswordError, RateLimitedError.
    """
    if not current or not new:
        raise InvalidRequestError("current and new passwords are required")
    check_password_rules(
        new,
        acknowledged=acknowledged,
        for_admin=user.role == Role.ADMIN,
        hints=[user.email, user.name],
    )
    slow_down_failures(user.email, request)
    if not user.check_password(current):
        note_failure(user.email, request)
        raise WrongCurrentPasswordError
    if user.must_change_password and new == current:
        raise InvalidRequestError("choose a password other than the one you were given")
    user.set_password(new)  # slow by design, so before the transaction
    user.must_change_password = False
    by = actor_of(request)
    with transaction.atomic():
        user.save(update_fields=["password", "must_change_password"])
        if revoke_api_keys:
            api_keys.revoke_all(user, by=by)
        record("password_changed", by, subject(user), after={"revoke_api_keys": revoke_api_keys})
        sessions.end_others(request, user)
