"""A conversation as a file, streamed in pieces: JSON of the whole tree, Markdown of what is shown."""

import re
from collections.abc import AsyncIterator, Iterator

import orjson
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse

from chat import branches, pages, shown
from chat.desk import desk
from chat.models import Conversation, Message, Role

FORMATS = {"json": "application/json", "markdown": "text/markdown; charset=utf-8"}
AT_ONCE = 200


def response(request: HttpRequest, conversation: Conversation, kind: str) -> StreamingHttpResponse:
    """The file, as an attachment named after its title."""
    parts = as_json(conversation) if kind == "json" else as_markdown(conversation)
    on_asgi = isinstance(request, ASGIRequest)
    made = StreamingHttpResponse(
        _in_threads(parts) if on_asgi else parts, content_type=FORMATS[kind]
    )
    suffix = "json" if kind == "json" else "md"
    name = re.sub(r"[^A-Za-z0-9]+", "-", conversation.title).strip("-")[:60] or "chat"
    made["Content-Disposition"] = f'attachment; filename="{name}.{suffix}"'
    return made


async def _in_threads(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (part := await desk().look(next, parts, None)) is not None:
        yield part


def as_json(conversation: Conversation) -> Iterator[bytes]:
    """`{chat, messages}`, the messages in the order in which they were made."""
    head = orjson.dumps(shown.chat(conversation), option=orjson.OPT_UTC_Z)
    yield b'{"chat":' + head + b',"messages":['
    last, comma = None, b""
    while True:
        rows = Message.objects.filter(conversation=conversation).order_by("pk")
        some = list((rows.filter(pk__gt=last) if last else rows)[:AT_ONCE])
        for each in pages.listed(conversation, some):
            yield comma + orjson.dumps(each, option=orjson.OPT_UTC_Z)
            comma = b","
        if len(some) < AT_ONCE:
            break
        last = some[-1].pk
    yield b"]}"


def as_markdown(conversation: Conversation) -> Iterator[bytes]:
    """The branch that is shown, oldest first: a heading for each message, its files named."""
    title = conversation.title or "Chat"
    yield f"# {_one_line(title)}\n".encode()
    if conversation.system:
        yield f"\n## System\n\n{conversation.system}\n".encode()
    for ids in _in_pieces(conversation):
        found = Message.objects.prefetch_related("files").in_bulk(ids)
        for message_id in ids:
            yield _as_markdown(found[message_id])


def _in_pieces(conversation: Conversation) -> Iterator[list[object]]:
    """The ids of the branch from its beginning; they alone are held."""
    ids = branches.ids_upwards(conversation, conversation.leaf_id)
    ids.reverse()
    for start in range(0, len(ids), AT_ONCE):
        yield list(ids[start : start + AT_ONCE])


def _as_markdown(message: Message) -> bytes:
    who = "You" if message.role == Role.USER else message.model or "Assistant"
    at = message.created_at.strftime("%Y-%m-%d %H:%M UTC")
    files = "".join(
        f"- {_one_line(each.name)} ({each.size} bytes)\n" for each in message.files.all()
    )
    parts = [
        f"\n## {_one_line(who)}, {at}\n\n",
        files,
        "\n" if files else "",
        message.content,
        "\n",
    ]
    return "".join(parts).encode()


def _one_line(text: str) -> str:
    return " ".join(text.split())
