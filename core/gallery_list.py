"""The settings that list galleries, as JSON (surface, R-03), and the recipes that are let in (R-20)."""

import json
import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, field_validator
from pydantic_settings import NoDecode

WANTS = 'wants a JSON list such as [{"name":"own","url":"https://example.org/models.yaml"}]'
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}"


class GalleryAt(BaseModel):
    """A gallery: what it is called, and where it is (`https://…`, `http://…` or `file:///…`)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    name: str
    url: str

    @field_validator("name")
    @classmethod
    def _short(cls, value: str) -> str:
        if not re.fullmatch(NAME, value):
            raise ValueError("a gallery's name has letters, digits, '.', '_' and '-'")
        return value

    @field_validator("url")
    @classmethod
    def _somewhere(cls, value: str) -> str:
        parts = urlsplit(value)
        here = parts.scheme == "file" and not parts.netloc and parts.path.startswith("/")
        if parts.username is not None or parts.password is not None:
            raise ValueError("a gallery's url holds no user name or password: admins see it")
        if not here and (parts.scheme not in {"http", "https"} or not parts.hostname):
            raise ValueError("a gallery's url is https://…, http://… or file:///…")
        return value


def _read(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        found = json.loads(value)
    except ValueError as exc:
        raise ValueError(WANTS) from exc
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ValueError(WANTS)
    names = [each.get("name") for each in found]
    if len({str(name) for name in names}) < len(names):
        raise ValueError("two galleries have the same name")
    return found


Galleries = Annotated[list[GalleryAt] | None, NoDecode, BeforeValidator(_read)]

PINNED = "wants address#sha256, comma-separated, such as https://example.org/recipes.yaml#0a1b…"


def _pinned(value: Any) -> Any:
    """Address -> sha256 of what has to be there; of one address several may be named."""
    if not isinstance(value, str):
        return value
    found: dict[str, frozenset[str]] = {}
    for item in filter(None, (part.strip() for part in value.split(","))):
        url, _, digest = item.rpartition("#")
        try:
            GalleryAt(name="pinned", url=url)
        except ValueError as exc:
            raise ValueError(PINNED) from exc
        if not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
            raise ValueError(PINNED)
        found[url] = found.get(url, frozenset()) | {digest.lower()}
    return found


Pinned = Annotated[dict[str, frozenset[str]], NoDecode, BeforeValidator(_pinned)]
