"""Telling every worker that somebody's rights changed (design.md, "State that processes share")."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction

from accounts.invalidation import announce
from accounts.runtime import generations
from core.generations import CREDENTIALS, SETTINGS, TERMS, user_slot


def credentials_added() -> None:
    """A new session or key: what was remembered as unknown is asked for again."""
    _moved(CREDENTIALS)


def rights_changed(user_id: object) -> None:
    """Role, status, password, a key or a session of this user changes in the running transaction."""
    _moved(user_slot(str(user_id)))


def terms_changed() -> None:
    """Quota rules or prices change in the running transaction: every worker reads them again."""
    _moved(TERMS)


def settings_changed() -> None:
    """Settings change in the running transaction: every process reads them again."""
    _moved(SETTINGS)


def _moved(slot: int) -> None:
    """Moved now and again after the commit, so that a kill in between loses nothing."""
    bump = generations().bump
    bump(slot)
    transaction.on_commit(lambda: bump(slot))
    announce(slot)


@contextmanager
def change_of_rights(user_id: object) -> Iterator[None]:
    """One transaction that changes what `user_id` may do."""
    with transaction.atomic():
        rights_changed(user_id)
        yield
