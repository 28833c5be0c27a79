"""When people were here last (R-29)."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db.models import Max

from accounts.models import ApiKey, Session, User


def last_seen(users: Iterable[User], *, everybody: bool = False) -> dict[UUID, datetime]:
    """When each last used a session or a key, or signed in: two queries.

    Who never did is not in it. `everybody` spares the database a list of who is meant.
    """
    people = list(users)
    seen = {user.pk: user.last_login for user in people if user.last_login}
    sessions, keys = Session.objects.filter(user__isnull=False), ApiKey.objects.all()
    if not everybody:
        sessions, keys = sessions.filter(user__in=people), keys.filter(user__in=people)
    used = (
        *sessions.order_by().values_list("user").annotate(at=Max("last_used_at")),
        *keys.order_by().values_list("user").annotate(at=Max("last_used_at")),
    )
    for user_id, at in used:
        if at is not None and (user_id not in seen or at > seen[user_id]):
            seen[user_id] = at
    return seen
