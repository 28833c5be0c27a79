"""Telling every worker that somebody's rights changed (design.md, "State that processes share")."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction

from accounts.runtime import generations
from core.generations import CREDENTIALS, user_slot


def credentials_added() -> None:
    """A new session or key: what was remembered as unknown is asked for again."""
    bump = generations().bump
    bump(CREDENTIALS)
    transaction.on_commit(lambda: bump(CREDENTIALS))


def rights_changed(user_id: object) -> None:
    """Role, status, password, a key or a session of this user changes in the running transaction.

    Moved now and again after the commit, so that a kill in between loses nothing.
    """
    slot, bump = user_slot(str(user_id)), generations().bump
    bump(slot)
    transaction.on_commit(lambda: bump(slot))


@contextmanager
def change_of_rights(user_id: object) -> Iterator[None]:
    """One transaction that changes what `user_id` may do."""
    with transaction.atomic():
        rights_changed(user_id)
        yield
