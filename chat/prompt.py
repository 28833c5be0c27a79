"""What an engine is asked: the system prompt and a branch, as far as it fits.

Old messages are left out, whole pairs at a time, where the branch is longer than the model's context or
than what one request may hold. How much fits is guessed by characters: nobody counts tokens for it.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from chat import bounds, branches
from chat.messages import data_url
from chat.models import Attachment, Conversation, Message, Role

CHARS_PER_TOKEN = 3  # careful: English has four, code and other scripts have fewer
ANSWER_SHARE = 4  # a quarter of the context is the answer's where nobody says how long it may be


@dataclass(frozen=True, slots=True)
class Prompt:
    """The body of a chat completion, what was `left_out` of the branch, and whether it shows images."""

    body: dict[str, Any]
    left_out: int
    has_images: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """One message that goes to the engine, and those of its files that go with it."""

    message: Message
    files: list[Attachment]


def write(
    conversation: Conversation, last: Message, *, model: str, context: int, continues: bool
) -> Prompt:
    """The request for an answer to `last`, or for the rest of it where it `continues`.

    `context` is how many tokens the model takes, 0 where nobody knows.
    """
    room = _room(conversation, context)
    with_question = max(room, len(last.content) + len(last.reasoning) + 1)
    branch = branches.upwards(conversation, last.pk, bounds.MAX_SENT_MESSAGES, with_question)
    kept = _fitting(branch, _files_of(branch), room)
    messages = _sent(kept)
    if conversation.system:
        messages.insert(0, {"role": "system", "content": conversation.system})
    body: dict[str, Any] = {
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    }
    if model or conversation.model:
        body["model"] = model or conversation.model
    for name in ("temperature", "top_p", "max_tokens", "seed"):
        if (value := getattr(conversation, name)) is not None:
            body[name] = value
    if continues:
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    has_images = any(file.kind == Attachment.Kind.IMAGE for each in kept for file in each.files)
    return Prompt(body, last.depth + 1 - len(kept), has_images)


def _room(conversation: Conversation, context: int) -> int:
    """How many characters of the branch go to the engine."""
    if not context:
        return bounds.MAX_SENT_CHARS
    answer = min(conversation.max_tokens or context // ANSWER_SHARE, context // 2)
    room = (context - answer) * CHARS_PER_TOKEN - len(conversation.system)
    return min(max(room, 1), bounds.MAX_SENT_CHARS)


def _fitting(branch: list[Message], files: dict[UUID, list[Attachment]], room: int) -> list[Kept]:
    """The newest messages that fit, newest first; at least the last exchange, and a person's at the top."""
    kept: list[Kept] = []
    least = 2 if branch[0].role == Role.ASSISTANT else 1
    images = image_bytes = 0
    for message in branch:
        own = files.get(message.pk, [])
        texts = [file for file in own if file.kind == Attachment.Kind.TEXT]
        shown = [file for file in own if file.kind == Attachment.Kind.IMAGE]
        room -= len(message.content) + sum(file.size for file in texts)
        if room < 0 and len(kept) >= least:
            break
        n_bytes = sum(file.size * 4 // 3 for file in shown)
        if (
            images + len(shown) > bounds.MAX_SENT_IMAGES
            or image_bytes + n_bytes > bounds.MAX_SENT_IMAGE_BYTES
        ):
            shown, n_bytes = [], 0
        images, image_bytes = images + len(shown), image_bytes + n_bytes
        kept.append(Kept(message, [*texts, *shown]))
    while len(kept) > 1 and kept[-1].message.role == Role.ASSISTANT:
        kept.pop()  # templates want a person to begin
    return kept


def _sent(kept: list[Kept]) -> list[dict[str, Any]]:
    """The messages as engines take them, oldest first; files are read only now."""
    wanted = [file.pk for each in kept for file in each.files]
    whole = Attachment.objects.in_bulk(wanted) if wanted else {}
    return [_message(each, [whole[file.pk] for file in each.files]) for each in reversed(kept)]


def _message(kept: Kept, files: list[Attachment]) -> dict[str, Any]:
    message = kept.message
    texts = [f"{file.name}:\n```\n{file.text}\n```" for file in files if file.kind == "text"]
    text = "\n\n".join([*texts, message.content] if message.content else texts)
    images = [file for file in files if file.kind == Attachment.Kind.IMAGE]
    if not images:
        return {"role": message.role, "content": text}
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    parts += [{"type": "image_url", "image_url": {"url": data_url(file)}} for file in images]
    return {"role": message.role, "content": parts}


def _files_of(branch: list[Message]) -> dict[UUID, list[Attachment]]:
    """What is attached to the messages of a branch, without what is in it."""
    found: dict[UUID, list[Attachment]] = defaultdict(list)
    asked = [message.pk for message in branch if message.role == Role.USER]
    rows = Attachment.objects.filter(message__in=asked).defer("text", "data")
    for file in rows.order_by("message", "number"):
        found[file.message_id].append(file)
    return found
