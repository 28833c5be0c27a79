"""The types of settings: each takes a value of a body and gives it back as it is kept (R-10)."""

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
)
from typing_extensions import TypedDict

from core import gallery_list
from core.durations import parse_duration
from core.memory_budget import check_budget

MAX_TEXT, MAX_ITEMS, MAX_INT = 2048, 100, 2**31 - 1


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("wants one line of text without control characters")
    return text


def _duration(text: str) -> str:
    try:
        parse_duration(text)
    except ValueError as exc:
        raise ValueError("wants a duration such as 15m, 1h30m or 500ms") from exc
    return text


def _duration_or_zero(text: str) -> str:
    return text if text == "0" else _duration(text)


def _pause(text: str) -> str:
    """How long to wait between two looks: never so short that it is a busy loop."""
    if parse_duration(_duration(text)).total_seconds() < 0.1:
        raise ValueError("wants a duration of at least 100ms")
    return text


def _origins(text: str) -> str:
    """Origins with commas between, each as a browser writes it; `*` for every one."""
    found = [item.strip() for item in text.split(",") if item.strip()]
    for item in found:
        parts = urlsplit(item)
        plain = parts.scheme in {"http", "https"} and item == f"{parts.scheme}://{parts.netloc}"
        if item != "*" and (not plain or not parts.hostname or "@" in parts.netloc):
            raise ValueError("wants * or origins such as https://app.example.org, comma-separated")
    return ",".join(dict.fromkeys(found))


def _gallery_url(text: str) -> str:
    try:
        parts = urlsplit(_one_line(text))
        with_secret = parts.username is not None or parts.password is not None
    except ValueError as exc:
        raise ValueError("wants an address") from exc
    if parts.scheme == "file":
        raise ValueError("takes no file:// gallery; the environment does (LOCALAI_GALLERIES)")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("wants an https:// or http:// address")
    if with_secret:
        raise ValueError("wants an address without a user name or password in it")
    return text


def _distinct_names(galleries: list[Any]) -> list[Any]:
    if len({each["name"] for each in galleries}) < len(galleries):
        raise ValueError("wants a different name for each gallery")
    return galleries


class Gallery(TypedDict):
    """One gallery (R-03)."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # pydantic's own way
    url: Annotated[StrictStr, Field(max_length=MAX_TEXT), AfterValidator(_gallery_url)]
    name: Annotated[StrictStr, Field(pattern=f"^{gallery_list.NAME}$")]


Flag = StrictBool
Count = Annotated[StrictInt, Field(ge=0, le=MAX_INT)]
Some = Annotated[StrictInt, Field(ge=1, le=MAX_INT)]
Share = Annotated[StrictFloat, Field(gt=0, le=1)]
Text = Annotated[StrictStr, Field(max_length=MAX_TEXT), AfterValidator(_one_line)]
Duration = Annotated[StrictStr, Field(max_length=64), AfterValidator(_duration)]
DurationOrZero = Annotated[StrictStr, Field(max_length=64), AfterValidator(_duration_or_zero)]
Pause = Annotated[StrictStr, Field(max_length=64), AfterValidator(_pause)]
Origins = Annotated[StrictStr, Field(max_length=MAX_TEXT), AfterValidator(_origins)]
Budget = Annotated[StrictStr, Field(max_length=32), AfterValidator(check_budget)]
Texts = Annotated[list[Text], Field(max_length=MAX_ITEMS)]
Galleries = Annotated[list[Gallery], Field(max_length=MAX_ITEMS), AfterValidator(_distinct_names)]
RegistrationMode = Literal["open", "approval", "invite"]
