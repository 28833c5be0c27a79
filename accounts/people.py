"""What an admin does to accounts: roles, states, rights, passwords; never the last admin's (S-08)."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from accounts.audit import Action, Actor, Subject, record
from accounts.changes import change_of_rights, credentials_added
from accounts.features import ALL_FEATURES
from accounts.mail import letters
from accounts.models import Provider, Role, RoleSource, Session, SignUpLock, Status, User
from accounts.passwords import check_password_rules
from core.errors import InvalidRequestError, NotFoundError

GROUP_LIFE = timedelta(hours=24)


def set_role(user_id: UUID, role: str, *, by: Actor, source: RoleSource = RoleSource.HAND) -> User:
    """Raises NotFoundError for an unknown id, InvalidRequestError for the last active admin."""
    with _change(user_id) as user:
        if role != Role.ADMIN:
            refuse_last_admin(user)
        _set(user, "role_changed", by, role=role)
        User.objects.filter(pk=user.pk).update(role_source=source)
        user.role_source = source
    return user


def set_status(user_id: UUID, status: str, *, by: Actor) -> User:
    """As `set_role`; disabling blocks sessions and keys at once without deleting them (E-19)."""
    with _change(user_id) as user:
        if status != Status.ACTIVE:
            refuse_last_admin(user)
        else:
            credentials_added()  # whoever was remembered as nobody is asked for again
        was_waiting = user.status == Status.PENDING
        _set(user, "status_changed", by, status=status)
        if was_waiting:
            letters.write("approved" if status == Status.ACTIVE else "refused", user)
    return user


def set_permissions(user_id: UUID, permissions: dict[str, bool], *, by: Actor) -> User:
    """Replace the stored map: what is not in it has its default (E-23).

    Raises InvalidRequestError for a feature that does not exist (S-21), NotFoundError.
    """
    unknown = sorted(set(permissions) - set(ALL_FEATURES))
    if unknown:
        raise InvalidRequestError(f"unknown feature: {unknown[0][:100]}", param="permissions")
    with _change(user_id) as user:
        _set(user, "permissions_changed", by, permissions=permissions)
    return user


def set_models(user_id: UUID, *, restricted: bool, models: list[str], by: Actor) -> User:
    """Which models this account may use, where it is `restricted` (E-24)."""
    with _change(user_id) as user:
        _set(user, "models_changed", by, models_restricted=restricted, allowed_models=models)
    return user


def reset_password(user_id: UUID, password: str, *, acknowledged: bool, by: Actor) -> User:
    """Give a local account a new password that has to be changed at the next sign-in (E-20).

    Its sessions end, its keys stay. Raises NotFoundError, InvalidRequestError, PasswordError.
    """
    user = _found(user_id)
    if user.provider != Provider.LOCAL:
        raise InvalidRequestError("password reset is only available for local accounts")
    check_password_rules(
        password, acknowledged=acknowledged, for_admin=user.role == Role.ADMIN, hints=[user.email]
    )
    user.set_password(password)  # slow by design, so before the transaction
    with change_of_rights(user_id):
        User.objects.filter(pk=user_id).update(password=user.password, must_change_password=True)
        Session.objects.filter(user_id=user_id).delete()
        record("password_reset_by_admin", by, subject(user))
    return user


def delete(user_id: UUID, *, by: Actor) -> User:
    """Remove an account with its keys, sessions and the invites it made, within a transaction.

    An invite it used stays used (W-04). Raises NotFoundError, InvalidRequestError.
    """
    with _change(user_id) as user:
        refuse_last_admin(user)
        user.invites_made.all().delete()
        record("user_deleted", by, subject(user), before={"role": user.role, "status": user.status})
        User.objects.filter(pk=user.pk).delete()
    return user


def decline(user_id: UUID, *, by: Actor) -> User:
    """Send away who waits for approval (R-40): the account goes, a letter and the trail say so.

    Raises NotFoundError; InvalidRequestError for an account that does not wait.
    """
    with _change(user_id) as user:
        if user.status != Status.PENDING:
            raise InvalidRequestError("this account does not wait for approval")
        record("user_declined", by, subject(user), before={"provider": user.provider})
        letters.write("refused", user)
        User.objects.filter(pk=user.pk).delete()
    return user


def expire_group_admins(now: datetime) -> int:
    """Take the role from admins by group whom no sign-in has shown as such for a day (S-44)."""
    stale = User.objects.filter(
        role=Role.ADMIN, role_source=RoleSource.GROUPS, groups_seen_at__lt=now - GROUP_LIFE
    )
    taken = 0
    by = Actor("", "LOCALAI_OIDC_ADMIN_GROUPS", "setting", "")
    for user_id in stale.values_list("pk", flat=True):
        with suppress(InvalidRequestError):  # the last admin stays one (S-08)
            set_role(user_id, Role.USER, by=by)
            taken += 1
    return taken


def locked(user_id: UUID) -> User:
    """The account, for a form that compares before it changes: nobody else does until the running
    transaction ends. The locks are those of a change, in its order. Raises NotFoundError.
    """
    SignUpLock.take()
    return _found(user_id, User.objects.select_for_update())


def subject(user: User) -> Subject:
    return Subject(user.pk, user.email)


@contextmanager
def _change(user_id: UUID) -> Iterator[User]:
    """The account, in a transaction that changes its rights, under the lock admins are counted under."""
    with change_of_rights(user_id):
        SignUpLock.take()
        yield _found(user_id)


def _set(user: User, action: Action, by: Actor, **fields: Any) -> None:
    before = {name: getattr(user, name) for name in fields}
    User.objects.filter(pk=user.pk).update(**fields)
    record(action, by, subject(user), before=before, after=fields)
    for name, value in fields.items():
        setattr(user, name, value)


def _found(user_id: UUID, among: QuerySet[User] | None = None) -> User:
    user = (User.objects.all() if among is None else among).filter(pk=user_id).first()
    if user is None:
        raise NotFoundError("user not found")
    return user


def refuse_last_admin(user: User) -> None:
    """Raise InvalidRequestError where `user` is the only active admin there is (S-08)."""
    if user.role != Role.ADMIN or user.status != Status.ACTIVE:
        return
    others = User.objects.filter(role=Role.ADMIN, status=Status.ACTIVE).exclude(pk=user.pk)
    if not others.exists():
        raise InvalidRequestError("the last active admin cannot be demoted, disabled or deleted")
