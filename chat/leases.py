"""Answers whose process died are cut off: they are held by a lease that nobody renews any more."""

from datetime import datetime, timedelta

from django.db.models import QuerySet
from django.utils import timezone

from chat.bounds import LEASE_S
from chat.models import Message, Status

DIED = "server_stopped"
WORDS = "The server stopped while it was writing this answer."


def lease() -> datetime:
    """Until when an answer that is being written now is believed to be."""
    return timezone.now() + timedelta(seconds=LEASE_S)


def cut_off(among: QuerySet[Message]) -> int:
    """Mark those of `among` as cut off that nobody writes any more; how many that were."""
    return among.filter(status=Status.STREAMING, lease_until__lt=timezone.now()).update(
        status=Status.CUT, reason=DIED, error=WORDS, lease_until=None, stop_asked=False
    )


def is_dead(message: Message) -> bool:
    """Whether `message` says that it is being written, and nobody does."""
    until = message.lease_until
    return message.status == Status.STREAMING and until is not None and until < timezone.now()


def look_again(messages: list[Message]) -> None:
    """Cut off what is dead among `messages`, there and in the database; costs no query where none is."""
    dead = [message for message in messages if is_dead(message)]
    if not dead:
        return
    cut_off(Message.objects.filter(pk__in=[message.pk for message in dead]))
    for message in dead:
        message.refresh_from_db()


def sweep() -> int:
    """All of them, for the background process."""
    return cut_off(Message.objects.all())
