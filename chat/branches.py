"""Ways through the tree of a conversation: a branch from its end upwards, and down to a newest end.

Upwards it is one recursive query that reads no more messages than it gives back, however long the whole is.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import connection

from chat.bounds import MAX_MESSAGES, MAX_PAGE_CHARS
from chat.models import Conversation, Message

_UP = """
    WITH RECURSIVE up(id, parent_id, n, chars) AS (
        SELECT id, parent_id, 1, length(content) + length(reasoning)
            FROM chat_message WHERE id = %s AND conversation_id = %s
        UNION ALL
        SELECT m.id, m.parent_id, up.n + 1, up.chars + length(m.content) + length(m.reasoning)
            FROM chat_message m JOIN up ON m.id = up.parent_id WHERE up.n < %s AND up.chars < %s
    )
    SELECT m.* FROM up JOIN chat_message m ON m.id = up.id ORDER BY up.n
"""
_IDS_UP = """
    WITH RECURSIVE up(id, parent_id, n) AS (
        SELECT id, parent_id, 1 FROM chat_message WHERE id = %s AND conversation_id = %s
        UNION ALL
        SELECT m.id, m.parent_id, up.n + 1 FROM chat_message m
            JOIN up ON m.id = up.parent_id WHERE up.n < %s
    )
    SELECT id FROM up ORDER BY n
"""


def _as_stored(value: UUID) -> Any:
    return Message._meta.get_field("id").get_db_prep_value(value, connection)  # noqa: SLF001


def upwards(
    conversation: Conversation, message_id: UUID | None, limit: int, chars: int = MAX_PAGE_CHARS
) -> list[Message]:
    """`message_id` and what stands above it, the nearest first: `limit` at most, and no more once
    there are `chars` characters of them.
    """
    if message_id is None or limit < 1:
        return []
    where = [_as_stored(message_id), _as_stored(conversation.pk), limit, chars]
    return list(Message.objects.raw(_UP, where))


def ids_upwards(conversation: Conversation, message_id: UUID | None) -> list[UUID]:
    """The ids alone, all the way up."""
    if message_id is None:
        return []
    where = [_as_stored(message_id), _as_stored(conversation.pk), MAX_MESSAGES]
    with connection.cursor() as cursor:
        cursor.execute(_IDS_UP, where)
        return [_as_id(row[0]) for row in cursor.fetchall()]


def _as_id(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


def newest_end(conversation: Conversation, message_id: UUID) -> UUID | None:
    """The end that is reached from `message_id` by the newest child each time; None where it is not there.

    Two queries, one for the ids of all below. A recursive one asks for children once a step, and where
    PostgreSQL's statistics are old each of 10,000 steps may read the whole table.
    """
    rows = Message.objects.filter(conversation=conversation)
    depth = rows.filter(pk=message_id).values_list("depth", flat=True).first()
    if depth is None:
        return None
    below = rows.filter(depth__gt=depth).order_by("id").values_list("parent_id", "id")
    newest = dict(below)  # of several children the last counts
    end = message_id
    while (child := newest.get(end)) is not None:
        end = child
    return end


def siblings(
    conversation: Conversation, messages: Iterable[Message]
) -> dict[UUID | None, list[UUID]]:
    """The children of every parent of `messages`, oldest first, by parent; None has the first messages."""
    parents = {message.parent_id for message in messages}
    found: dict[UUID | None, list[UUID]] = defaultdict(list)
    of_conversation = Message.objects.filter(conversation=conversation)
    rows = of_conversation.filter(parent_id__in=[each for each in parents if each is not None])
    if None in parents:
        rows = rows | of_conversation.filter(parent_id__isnull=True)
    for parent_id, message_id in rows.order_by("id").values_list("parent_id", "id"):
        found[parent_id].append(message_id)
    return found
