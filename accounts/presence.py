"""When people were here last (R-29): the last use of a session or key, or the last sign-in."""

from datetime import UTC, datetime

from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce, Greatest

from accounts.models import User

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def last_seen(user: User) -> datetime | None:
    """To the minute; None for somebody who never was."""
    return max((at for at in (user.last_seen_at, user.last_login) if at), default=None)


def by_last_seen() -> Greatest:
    """The same for an order; who never was comes before everybody."""
    never = Value(_NEVER)
    return Greatest(Coalesce(F("last_seen_at"), never), Coalesce(F("last_login"), never))


def seen(user_id: str, at: datetime, *, before: datetime) -> None:
    """Somebody is here at `at`: written where it was not since `before`, so that busy keys cost one row."""
    was_not = Q(last_seen_at=None) | Q(last_seen_at__lt=before)
    User.objects.filter(was_not, pk=user_id).update(last_seen_at=at)
