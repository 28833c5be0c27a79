"""Conversations of one person: made, found, changed, deleted. Each function sees its owner's alone."""

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from accounts.runtime import env
from chat import bounds, branches
from chat.models import Attachment, Conversation, Message, Preference
from core.durations import parse_duration
from core.errors import ConflictError, InvalidRequestError, NotFoundError
from core.moments import in_utc

NOT_FOUND = "chat not found"


@dataclass(frozen=True, slots=True)
class History:
    """Whether conversations are kept for somebody, and who switched that off: server, user or nobody."""

    on: bool
    off_by: str | None


def history_of(user_id: str) -> History:
    """What the server's setting and the person's own choice come to."""
    if not env().chat_history:
        return History(on=False, off_by="server")
    kept = (
        Preference.objects.filter(user_id=user_id).values_list("keeps_history", flat=True).first()
    )
    return History(on=kept is not False, off_by="user" if kept is False else None)


def keep_history(user_id: str, *, keep: bool) -> None:
    """The person's own choice. What was kept before stays until they delete it."""
    Preference.objects.update_or_create(user_id=user_id, defaults={"keeps_history": keep})


def refuse_without_history(user_id: str) -> None:
    """Raise ConflictError where nothing may be stored for this person."""
    history = history_of(user_id)
    if not history.on:
        who = "on this server" if history.off_by == "server" else "for your account"
        raise ConflictError(f"Chat history is switched off {who}; nothing is stored.")


@dataclass(frozen=True, slots=True)
class Found:
    """A page of the list, and the cursor of the next; None where it was the last."""

    conversations: list[Conversation]
    next: str | None


def search(user_id: str, *, words: str, cursor: str, limit: int) -> Found:
    """The newest first; with `words` those that have them in their title or in a message."""
    found = Conversation.objects.filter(user_id=user_id)
    if words:
        said = Message.objects.filter(conversation=OuterRef("pk"), content__icontains=words)
        found = found.filter(Q(title__icontains=words) | Exists(said))
    if cursor:
        moment, last_id = _read_cursor(cursor)
        found = found.filter(
            Q(updated_at__lt=moment) | Q(updated_at=moment, pk__lt=last_id),
            updated_at__lte=moment,  # what the index goes by
        )
    rows = list(found.order_by("-updated_at", "-pk")[: limit + 1])
    more = len(rows) > limit
    rows = rows[:limit]
    return Found(rows, _cursor(rows[-1]) if more else None)


def _cursor(last: Conversation) -> str:
    text = f"{last.updated_at.isoformat()}|{last.pk.hex}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, UUID]:
    """Raises InvalidRequestError for what `_cursor` did not write."""
    try:
        raw = base64.urlsafe_b64decode(cursor[:200] + "=" * (-len(cursor) % 4)).decode()
        moment, _, last_id = raw.partition("|")
        return in_utc(datetime.fromisoformat(moment)), UUID(last_id)
    except (ValueError, binascii.Error) as exc:
        raise InvalidRequestError("cursor is not one of this list", param="cursor") from exc


def of_owner(conversation_id: UUID, user_id: str) -> Conversation:
    """Raises NotFoundError where it is not there, or another's."""
    found = Conversation.objects.select_related("leaf").filter(pk=conversation_id, user_id=user_id)
    conversation = found.first()
    if conversation is None:
        raise NotFoundError(NOT_FOUND)
    return conversation


def create(user_id: str, fields: dict[str, Any], *, key: str = "") -> Conversation:
    """A new one, or the one that an earlier request with this `key` made.

    Raises ConflictError where the person has as many as may be, or keeps no history.
    """
    refuse_without_history(user_id)
    if (made := _made_by(user_id, key)) is not None:
        return made
    if Conversation.objects.filter(user_id=user_id).count() >= bounds.MAX_CONVERSATIONS:
        raise ConflictError(
            f"An account keeps at most {bounds.MAX_CONVERSATIONS} chats; delete some first."
        )
    try:
        with transaction.atomic():
            return Conversation.objects.create(user_id=user_id, request_key=key, **fields)
    except IntegrityError:  # it came twice at once, and the other was quicker
        if (made := _made_by(user_id, key)) is None:
            raise
        return made


def _made_by(user_id: str, key: str) -> Conversation | None:
    if not key:
        return None
    return Conversation.objects.filter(user_id=user_id, request_key=key).first()


def change(conversation: Conversation, fields: dict[str, Any]) -> Conversation:
    """Set what is given; the list's order stays, as nothing was said."""
    if fields:
        Conversation.objects.filter(pk=conversation.pk).update(**fields)
        for name, value in fields.items():
            setattr(conversation, name, value)
    return conversation


def show(conversation: Conversation, message_id: UUID, *, to_the_end: bool) -> None:
    """Show the branch that ends at `message_id`, or goes through it to its newest end.

    Raises InvalidRequestError for a message of another conversation.
    """
    leaf: UUID | None = message_id
    if to_the_end:
        leaf = branches.newest_end(conversation, message_id)
    elif not Message.objects.filter(pk=message_id, conversation=conversation).exists():
        leaf = None
    if leaf is None:
        param = "show" if to_the_end else "leaf"
        raise InvalidRequestError("there is no such message in this chat", param=param)
    Conversation.objects.filter(pk=conversation.pk).update(leaf_id=leaf)
    conversation.leaf_id = leaf


def touch(conversation: Conversation) -> None:
    """It comes first in the list: something was said."""
    conversation.updated_at = timezone.now()
    Conversation.objects.filter(pk=conversation.pk).update(updated_at=conversation.updated_at)


def delete(conversation_id: UUID, user_id: str) -> list[UUID]:
    """One with all that is in it; its messages that may be under way. Raises NotFoundError."""
    of_owner(conversation_id, user_id)
    return _delete(Q(pk=conversation_id, user_id=user_id))[1]


def delete_all(user_id: str) -> tuple[int, list[UUID]]:
    """Every one of a person's: how many, and their messages that may be under way."""
    return _delete(Q(user_id=user_id))


@transaction.atomic
def _delete(which: Q) -> tuple[int, list[UUID]]:
    ids = list(Conversation.objects.filter(which).values_list("pk", flat=True))
    under_way = list(
        Message.objects.filter(conversation__in=ids, status="streaming").values_list(
            "pk", flat=True
        )
    )
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        Attachment.objects.filter(message__conversation__in=some).delete()
        Message.objects.filter(conversation__in=some).delete()
        Conversation.objects.filter(pk__in=some).delete()
    return len(ids), under_way


def sweep() -> int:
    """Delete what nobody said anything in for LOCALAI_CHAT_RETENTION; how many that were."""
    kept_for = env().chat_retention
    if not kept_for:
        return 0
    return _delete(Q(updated_at__lt=timezone.now() - parse_duration(kept_for)))[0]
