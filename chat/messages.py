"""Messages of a conversation: a person's are added, answers begun, taken back, ended."""

import base64
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from chat import bounds, leases
from chat.models import Attachment, Conversation, Message, Role, Status
from core.errors import ConflictError, InvalidRequestError, NotFoundError, RateLimitedError

BUSY = "This answer is still being written."


@dataclass(slots=True)
class Begun:
    """What was written down to begin an answer, and how to undo it where it does not begin."""

    conversation: Conversation
    answer: Message
    question: Message | None = None  # where it was added with it
    leaf_before: UUID | None = None
    titled: bool = False
    before: dict[str, Any] = field(default_factory=dict)  # of an answer that is continued


def of(conversation: Conversation, message_id: UUID, *, param: str = "") -> Message:
    """Raises NotFoundError, or InvalidRequestError where a body named it as `param`."""
    message = Message.objects.filter(pk=message_id, conversation=conversation).first()
    if message is None:
        if param:
            raise InvalidRequestError("there is no such message in this chat", param=param)
        raise NotFoundError("message not found")
    leases.look_again([message])
    return message


def refuse_too_many(user_id: str) -> None:
    """Raise RateLimitedError where as many answers are being written for a person as may be."""
    under_way = Message.objects.filter(
        status=Status.STREAMING,
        lease_until__gte=timezone.now(),
        conversation__user_id=user_id,
    )
    if under_way.count() >= bounds.MAX_ANSWERS_AT_ONCE:
        raise RateLimitedError(
            f"{bounds.MAX_ANSWERS_AT_ONCE} answers are being written for you already.",
            retry_after_s=5,
        )


@transaction.atomic
def ask(
    conversation: Conversation, parent: Message | None, text: str, files: list[Attachment]
) -> Begun:
    """Add a person's message under `parent` (None: at the beginning), and an empty answer under it."""
    if parent is not None:
        if parent.role != Role.ASSISTANT:
            raise InvalidRequestError("a message goes under an answer", param="parent")
        if parent.status == Status.STREAMING:
            raise ConflictError(BUSY)
    question = Message(
        conversation=conversation,
        parent=parent,
        depth=0 if parent is None else parent.depth + 1,
        role=Role.USER,
        content=text,
    )
    _count(conversation, 2)
    question.save(force_insert=True)
    for number, file in enumerate(files):
        file.message, file.number = question, number
    Attachment.objects.bulk_create(files)
    titled = not conversation.title
    if titled:
        conversation.title = title_of(text) or (files[0].name[:60] if files else "")
    begun = _answer(conversation, question)
    begun.question, begun.titled = question, titled
    return begun


@transaction.atomic
def answer_again(conversation: Conversation, question: Message) -> Begun:
    """Another empty answer under a person's message."""
    if question.role != Role.USER:
        raise InvalidRequestError("only a message of yours can be answered")
    _count(conversation, 1)
    return _answer(conversation, question)


@transaction.atomic
def go_on(conversation: Conversation, answer: Message) -> Begun:
    """Have an answer that ended too early go on where it ended. Raises InvalidRequestError, ConflictError."""
    if answer.role != Role.ASSISTANT or not answer.content:
        raise InvalidRequestError("only an answer that was begun can be continued")
    if answer.status == Status.STREAMING:
        raise ConflictError(BUSY)
    if answer.status == Status.DONE and answer.finish_reason != "length":
        raise ConflictError("This answer came to its end.")
    names = ("status", "reason", "error", "finish_reason", "correlation_id")
    before = {name: getattr(answer, name) for name in names}
    until = leases.lease()
    mine = Message.objects.filter(pk=answer.pk, status=answer.status)
    fields = {"status": Status.STREAMING, "reason": "", "error": "", "finish_reason": ""}
    if not mine.update(**fields, lease_until=until, stop_asked=False):
        raise ConflictError(BUSY)  # another tab was quicker
    answer.refresh_from_db()
    return Begun(conversation, answer, leaf_before=conversation.leaf_id, before=before)


def _count(conversation: Conversation, more: int) -> None:
    """Make room for `more` messages. Raises ConflictError where there is none."""
    rows = Conversation.objects.filter(
        pk=conversation.pk, n_messages__lte=bounds.MAX_MESSAGES - more
    )
    if not rows.update(n_messages=F("n_messages") + more):
        if not Conversation.objects.filter(pk=conversation.pk).exists():
            raise NotFoundError("chat not found")
        raise ConflictError(
            f"A chat holds at most {bounds.MAX_MESSAGES} messages; begin a new one."
        )
    conversation.n_messages += more


def _answer(conversation: Conversation, question: Message) -> Begun:
    answer = Message.objects.create(
        conversation=conversation,
        parent=question,
        depth=question.depth + 1,
        role=Role.ASSISTANT,
        status=Status.STREAMING,
        lease_until=leases.lease(),
    )
    before = conversation.leaf_id
    conversation.leaf, conversation.updated_at = answer, timezone.now()
    Conversation.objects.filter(pk=conversation.pk).update(
        leaf=answer, updated_at=conversation.updated_at, title=conversation.title
    )
    return Begun(conversation, answer, leaf_before=before)


def _leaf_without(begun: Begun) -> UUID | None:
    """Where the conversation ended before; where that is gone, above what was asked."""
    before, answer = begun.leaf_before, begun.answer
    if before is not None and Message.objects.filter(pk=before).exists():
        return before
    if answer.parent_id is None:
        return None
    return Message.objects.filter(pk=answer.parent_id).values_list("parent_id", flat=True).first()


@transaction.atomic
def take_back(begun: Begun) -> None:
    """Undo it: the answer was refused before it began, and the person still has what they typed."""
    answer, conversation = begun.answer, begun.conversation
    if begun.before:
        Message.objects.filter(pk=answer.pk).update(**begun.before, lease_until=None)
        return
    mine = Conversation.objects.filter(pk=conversation.pk)
    mine.select_for_update().first()  # nothing is put under them meanwhile
    question = begun.question
    if question is not None and question.children.exclude(pk=answer.pk).exists():
        question = None  # it was asked again from another tab, so it stays
    gone = [answer] if question is None else [answer, question]
    ids = [message.pk for message in gone]
    if mine.filter(leaf_id__in=ids).exists():
        mine.update(leaf_id=_leaf_without(begun))
    if begun.titled and question is not None:
        mine.update(title="")
    Attachment.objects.filter(message__in=ids).delete()
    Message.objects.filter(pk__in=ids).delete()
    mine.update(n_messages=F("n_messages") - len(gone))


def title_of(text: str) -> str:
    """The first words, in one line; made without asking an engine."""
    line = " ".join(text[:1000].split())
    if len(line) <= bounds.TITLE_FROM_WORDS_CHARS:
        return line
    cut = line[: bounds.TITLE_FROM_WORDS_CHARS].rpartition(" ")[0]
    return (cut or line[: bounds.TITLE_FROM_WORDS_CHARS - 1]).rstrip(" ,.;:") + "…"


def data_url(file: Attachment) -> str:
    """An image as engines take it: inline."""
    return f"data:{file.media_type};base64,{base64.b64encode(file.data).decode()}"
