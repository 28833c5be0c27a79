"""Conversations and messages as the API shows them (`chat.api.answers`)."""

from typing import Any
from uuid import UUID

from chat.models import Attachment, Conversation, Message, Role, Status


def chat(conversation: Conversation) -> dict[str, Any]:
    return {
        "id": str(conversation.pk),
        "title": conversation.title,
        "model": conversation.model,
        "system": conversation.system,
        "temperature": conversation.temperature,
        "topP": conversation.top_p,
        "maxTokens": conversation.max_tokens,
        "seed": conversation.seed,
        "leaf": _id(conversation.leaf_id),
        "messageCount": conversation.n_messages,
        "createdAt": conversation.created_at,
        "updatedAt": conversation.updated_at,
    }


def message(
    shown: Message, *, files: list[Attachment] | None = None, siblings: list[UUID] | None = None
) -> dict[str, Any]:
    """One message with its text. `siblings` are all answers to, or versions of, the same, with itself."""
    body: dict[str, Any] = {**_head(shown), "content": shown.content}
    if shown.role == Role.ASSISTANT:
        body["reasoning"] = shown.reasoning
        if shown.status == Status.STREAMING:
            body["after"] = f"{len(shown.content)}.{len(shown.reasoning)}"
    else:
        body["files"] = [file(each, shown) for each in files or []]
    body["siblings"] = [str(each) for each in siblings or [shown.pk]]
    return body


def ended(shown: Message) -> dict[str, Any]:
    """What an answer came to, without the text, which its readers have."""
    return _head(shown)


def _head(shown: Message) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": str(shown.pk),
        "parent": _id(shown.parent_id),
        "depth": shown.depth,
        "role": shown.role,
        "createdAt": shown.created_at,
    }
    if shown.role == Role.ASSISTANT:
        body |= {
            "model": shown.model,
            "status": shown.status,
            "reason": shown.reason,
            "error": shown.error,
            "finishReason": shown.finish_reason,
            "promptTokens": shown.prompt_tokens,
            "completionTokens": shown.completion_tokens,
            "firstTokenMs": shown.first_token_ms,
            "durationMs": shown.duration_ms,
            "tokensPerSecond": tokens_per_second(shown),
            "leftOut": shown.left_out,
            "correlationId": shown.correlation_id,
        }
    return body


def tokens_per_second(shown: Message) -> float | None:
    """How fast it came once it did; None where nobody can say."""
    if shown.completion_tokens is None or shown.duration_ms is None or shown.first_token_ms is None:
        return None
    seconds = (shown.duration_ms - shown.first_token_ms) / 1000
    after_first = shown.completion_tokens - 1
    return round(after_first / seconds, 1) if seconds > 0 and after_first > 0 else None


def file(shown: Attachment, of: Message) -> dict[str, Any]:
    return {
        "number": shown.number,
        "kind": shown.kind,
        "name": shown.name,
        "type": shown.media_type,
        "size": shown.size,
        "url": f"/api/chats/{of.conversation_id}/messages/{of.pk}/files/{shown.number}",
    }


def _id(value: UUID | None) -> str | None:
    return None if value is None else str(value)
