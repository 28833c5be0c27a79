"""What the chat's endpoints take, checked field by field. Every function raises InvalidRequestError."""

import base64
import binascii
import math
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from rest_framework.request import Request

from accounts.runtime import env
from chat import bounds
from chat.models import Attachment
from core.drf import read_json, text
from core.errors import InvalidRequestError, TooLargeError
from core.pictures import KINDS, kind_of

_TEXTS = {
    "title": ("title", bounds.MAX_TITLE_CHARS),
    "model": ("model", 255),
    "system": ("system", bounds.MAX_SYSTEM_CHARS),
}


def body_of(request: Request) -> dict[str, Any]:
    """A body may be as large as one to an engine: images are in it."""
    limit = env().upload_limit * bounds.MIB
    return read_json(request._request, limit=limit)  # noqa: SLF001  # DRF's own name


def conversation_fields(data: dict[str, Any]) -> dict[str, Any]:
    """The fields of a conversation that `data` names; null empties one."""
    fields: dict[str, Any] = {}
    for name, (field, limit) in _TEXTS.items():
        if name in data:
            words = f"{name} must be a text of at most {limit} characters"
            fields[field] = text(data, name, limit=limit, invalid=words)
    if "title" in fields:
        fields["title"] = " ".join(fields["title"].split())
    if "temperature" in data:
        fields["temperature"] = _number(data, "temperature", 0, 2)
    if "topP" in data:
        fields["top_p"] = _number(data, "topP", 0, 1, above=True)
    if "maxTokens" in data:
        fields["max_tokens"] = _whole(data, "maxTokens", 1, bounds.MAX_MAX_TOKENS)
    if "seed" in data:
        fields["seed"] = _whole(data, "seed", -bounds.MAX_SEED, bounds.MAX_SEED)
    return fields


def _number(
    data: dict[str, Any], name: str, least: float, most: float, *, above: bool = False
) -> float | None:
    value = data[name]
    if value is None:
        return None
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    if not fits or not math.isfinite(value) or not least <= value <= most or (above and value == 0):
        words = f"above {least:g}, and at most {most:g}" if above else f"from {least:g} to {most:g}"
        raise InvalidRequestError(f"{name} must be a number {words}", param=name)
    return float(value)


def _whole(data: dict[str, Any], name: str, least: int, most: int) -> int | None:
    value = data[name]
    if value is None:
        return None
    if type(value) is not int or not least <= value <= most:
        raise InvalidRequestError(
            f"{name} must be a whole number from {least} to {most}", param=name
        )
    return value


def id_in(data: dict[str, Any], name: str) -> UUID | None:
    """A message's id; None for null."""
    value = data.get(name)
    if value is None:
        return None
    try:
        return UUID(value) if isinstance(value, str) else UUID(int=-1)
    except ValueError as exc:
        raise InvalidRequestError(f"{name} must be the id of a message", param=name) from exc


def model_in(data: dict[str, Any]) -> str:
    return text(data, "model", limit=255, invalid="model must be a text")


def said(data: dict[str, Any]) -> tuple[str, list[Attachment]]:
    """What a person says: a text, or files, or both."""
    words = f"content must be a text of at most {bounds.MAX_TEXT_CHARS} characters"
    content = data.get("content")
    if isinstance(content, str) and len(content) > bounds.MAX_TEXT_CHARS:
        raise TooLargeError(words, param="content")
    content = text(data, "content", limit=bounds.MAX_TEXT_CHARS, invalid=words)
    files = _files(data)
    if not content.strip() and not files:
        raise InvalidRequestError("write something first", param="content")
    return content, files


def _files(data: dict[str, Any]) -> list[Attachment]:
    given = data.get("files")
    if given is None:
        return []
    if not isinstance(given, list) or len(given) > bounds.MAX_FILES:
        raise InvalidRequestError(
            f"files must be a list of at most {bounds.MAX_FILES}", param="files"
        )
    files = [_file(each) for each in given]
    images = sum(file.size for file in files if file.kind == Attachment.Kind.IMAGE)
    if images > bounds.MAX_IMAGES_BYTES:
        raise TooLargeError(
            f"the images of a message are {bounds.MAX_IMAGES_BYTES // bounds.MIB} MB at most",
            param="files",
        )
    return files


def _file(given: object) -> Attachment:
    if not isinstance(given, dict):
        raise InvalidRequestError("every file must be an object", param="files")
    limit = bounds.MAX_FILE_NAME_CHARS
    words = f"a file's name must be a text of at most {limit} characters"
    name = " ".join(text(given, "name", limit=limit, invalid=words).split()) or "file"
    content, data = given.get("text"), given.get("data")
    if isinstance(content, str) and data is None:
        return _text_file(name, content)
    if isinstance(data, str) and content is None:
        return _image(name, data)
    raise InvalidRequestError(
        f"{name}: give a text file's text as text, or an image as base64 in data", param="files"
    )


def _text_file(name: str, content: str) -> Attachment:
    if "\0" in content:
        raise InvalidRequestError(f"{name} is not a text file", param="files")
    if len(content) > bounds.MAX_TEXT_CHARS:
        raise TooLargeError(
            f"{name} is longer than {bounds.MAX_TEXT_CHARS} characters", param="files"
        )
    return Attachment(
        kind=Attachment.Kind.TEXT,
        name=name,
        media_type="text/plain",
        size=len(content.encode()),
        text=content,
    )


def _image(name: str, data: str) -> Attachment:
    if len(data) > bounds.MAX_IMAGE_BYTES * 4 // 3 + 4:
        raise TooLargeError(
            f"{name} is larger than {bounds.MAX_IMAGE_BYTES // bounds.MIB} MB", param="files"
        )
    try:
        content = base64.b64decode(data, validate=True)
    except (ValueError, binascii.Error) as exc:
        raise InvalidRequestError(f"{name} is not valid base64", param="files") from exc
    kind = kind_of(content)
    if kind is None:
        raise InvalidRequestError(
            f"{name} is no image that can be shown (PNG, JPEG, GIF, WebP)", param="files"
        )
    return Attachment(
        kind=Attachment.Kind.IMAGE,
        name=name,
        media_type=KINDS[kind],
        size=len(content),
        data=content,
    )


def wants_stream(data: dict[str, Any], request: HttpRequest) -> bool:
    """Whether the answer comes in this response: by `stream`, or by what is accepted."""
    value = data.get("stream")
    if value is None:
        return "text/event-stream" in request.headers.get("accept", "")
    if not isinstance(value, bool):
        raise InvalidRequestError("stream must be true or false", param="stream")
    return value


def key_of(request: HttpRequest) -> str:
    """The `Idempotency-Key` of a request; empty without one."""
    key = request.headers.get("idempotency-key", "")
    if len(key) > bounds.MAX_KEY_CHARS or not key.isprintable():
        raise InvalidRequestError(
            f"Idempotency-Key must have at most {bounds.MAX_KEY_CHARS} characters"
        )
    return key
