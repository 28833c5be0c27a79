"""What an admin does to accounts: roles and states, under the rule of the last admin (S-08)."""

from uuid import UUID

from accounts.changes import change_of_rights
from accounts.models import Role, SignUpLock, Status, User
from core.errors import InvalidRequestError, NotFoundError


def set_role(user_id: UUID, role: str) -> User:
    """Raises NotFoundError for an unknown id, InvalidRequestError for the last active admin."""
    with change_of_rights(user_id):
        user = _locked(user_id)
        if role != Role.ADMIN:
            _refuse_last_admin(user)
        User.objects.filter(pk=user.pk).update(role=role)
    user.role = role
    return user


def set_status(user_id: UUID, status: str) -> User:
    """As `set_role`; disabling blocks sessions and keys at once without deleting them (E-19)."""
    with change_of_rights(user_id):
        user = _locked(user_id)
        if status != Status.ACTIVE:
            _refuse_last_admin(user)
        User.objects.filter(pk=user.pk).update(status=status)
    user.status = status
    return user


def _locked(user_id: UUID) -> User:
    """The account, under the lock that admins are counted under."""
    SignUpLock.objects.select_for_update().get_or_create(id=1)
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise NotFoundError("user not found")
    return user


def _refuse_last_admin(user: User) -> None:
    if user.role != Role.ADMIN or user.status != Status.ACTIVE:
        return
    others = User.objects.filter(role=Role.ADMIN, status=Status.ACTIVE).exclude(pk=user.pk)
    if not others.exists():
        raise InvalidRequestError("the last active admin cannot be demoted or disabled")
