"""A page of the branch that is shown, ready for API and page: a fixed number of queries."""

from collections import defaultdict
from typing import Any
from uuid import UUID

from chat import branches, leases, shown
from chat.models import Attachment, Conversation, Message
from core.errors import InvalidRequestError


def page(conversation: Conversation, *, before: UUID | None, limit: int) -> dict[str, Any]:
    """The last `limit` messages that are shown, or those above `before`, oldest first.

    Raises InvalidRequestError where `before` is not in this conversation.
    """
    end = conversation.leaf_id if before is None else _above(conversation, before)
    found = list(reversed(branches.upwards(conversation, end, limit)))
    leases.look_again(found)
    more = found[0].pk if found and found[0].parent_id is not None else None
    return {
        "chat": shown.chat(conversation),
        "messages": listed(conversation, found),
        "before": None if more is None else str(more),
    }


def listed(conversation: Conversation, messages: list[Message]) -> list[dict[str, Any]]:
    """Messages with their files and siblings, as the API shows them: two queries."""
    files: dict[UUID, list[Attachment]] = defaultdict(list)
    rows = Attachment.objects.filter(message__in=[each.pk for each in messages])
    for file in rows.defer("text", "data").order_by("number"):
        files[file.message_id].append(file)
    versions = branches.siblings(conversation, messages) if messages else {}
    return [
        shown.message(each, files=files.get(each.pk), siblings=versions[each.parent_id])
        for each in messages
    ]


def one(conversation: Conversation, message: Message) -> dict[str, Any]:
    """The same of one message."""
    return listed(conversation, [message])[0]


def _above(conversation: Conversation, message_id: UUID) -> UUID | None:
    found = conversation.messages.filter(pk=message_id).values_list("parent_id", flat=True)
    if not found:
        raise InvalidRequestError("there is no such message in this chat", param="before")
    parent: UUID | None = found[0]
    return parent
