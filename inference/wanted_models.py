"""Which model a request means: an entry of a gallery, perhaps changed, or one that it describes."""

from typing import Any

from pydantic import ValidationError

from core.errors import InvalidRequestError
from inference.gallery import Found, find, local_name
from inference.gallery_schema import Entry, Overrides, first_fault
from inference.installing import InstallError
from inference.model_configuration import ConfigurationFaultError, checked_aliases
from inference.model_folders import is_model_name
from inference.model_names import taken
from inference.model_sources import HubSource, WebSource, WheelSource, read_source
from inference.models import Operation
from inference.operations import Action, Kind, Wish
from inference.registering import refuse_taken

_DESCRIBED = ("description", "license", "icon", "urls", "tags", "backend", "overrides")
_KNOWN = {"id", "url", "name", "files", "aliases", *_DESCRIBED}


def wish_for_id(asked_for: str, asked_by: str) -> Wish:
    """Install `gallery@name`; whether there is one shows when its turn comes."""
    return Wish(Kind.MODEL, Action.INSTALL, local_name(asked_for)[:255], asked_for, asked_by)


def wish_for_deletion(asked_for: str, asked_by: str) -> Wish:
    return Wish(Kind.MODEL, Action.DELETE, local_name(asked_for)[:255], asked_for, asked_by)


def wish_in(data: dict[str, Any], asked_by: str) -> Wish:
    """The body of `POST /models/apply`: `{id, name?, overrides?}` or `{url, name, files, …}`.

    Raises InvalidRequestError that names what is wrong.
    """
    if holds_nul(data):
        raise InvalidRequestError("a text holds a character that may not be there")
    if unknown := sorted(set(data) - _KNOWN):
        raise InvalidRequestError(f"unknown key {unknown[0][:60]}", param=unknown[0][:60])
    for key in ("id", "url", "name"):
        if not isinstance(data.get(key, ""), str) or len(data.get(key, "")) > 2000:
            raise InvalidRequestError(f"{key} has to be a text", param=key)
    if data.get("id"):
        wish = _changed_entry(data, asked_by)
    elif data.get("url") or data.get("files"):
        wish = _described(data, asked_by)
    else:
        raise InvalidRequestError("id or url is required", param="id")
    if data.get("aliases"):
        wish.details["aliases"] = _free_aliases(wish.target, data["aliases"])
    return wish


def _free_aliases(name: str, given: Any) -> list[str]:
    """Raises InvalidRequestError; they may be gone when its turn comes, then it fails saying the same."""
    if taken([name]):
        raise InvalidRequestError(
            f"aliases: {name} is there already; PATCH /api/models/config-json/{name} sets them",
            param="aliases",
        )
    try:
        aliases = checked_aliases(name, given)
        refuse_taken(name, aliases)
    except (ConfigurationFaultError, InstallError) as exc:
        raise InvalidRequestError(f"aliases: {exc}", param="aliases") from exc
    return aliases


def holds_nul(value: Any) -> bool:
    """PostgreSQL takes no text with one. However deep a body goes, it needs no stack."""
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, str) and "\0" in each:
            return True
        if isinstance(each, dict):
            left += [*each, *each.values()]
        elif isinstance(each, list):
            left += each
    return False


def wanted(operation: Operation) -> Found:
    """What an operation installs. Raises InstallError where there is no such model."""
    details = operation.details
    if "entry" in details:
        return Found(Entry.model_validate(details["entry"]), "", None)
    asked_for = operation.asked_for or operation.target
    found = find(asked_for)
    if found is None:
        raise InstallError(f"no model found with name {asked_for[:200]}")
    overrides = Overrides.model_validate(details.get("overrides", {}))
    kept = found.entry.overrides
    merged = Overrides(
        capabilities=overrides.capabilities or kept.capabilities,
        options={**kept.options, **overrides.options},
        convert=overrides.convert or kept.convert,
        architecture=overrides.architecture or kept.architecture,
    )
    entry = found.entry.model_copy(update={"name": operation.target, "overrides": merged})
    return Found(entry, found.gallery, found.folder)


def _changed_entry(data: dict[str, Any], asked_by: str) -> Wish:
    """An entry of a gallery, under another name or with other options where they are given."""
    for key in ("url", "files", *_DESCRIBED):
        if key != "overrides" and data.get(key):
            raise InvalidRequestError(f"{key} does not go with id", param=key)
    wish = wish_for_id(data["id"], asked_by)
    name = data.get("name") or wish.target
    if data.get("name") and not is_model_name(name):
        raise InvalidRequestError("name is not one a model may have", param="name")
    try:
        overrides = Overrides.model_validate(data.get("overrides") or {})
    except ValidationError as exc:
        _place, words = first_fault(exc)
        raise InvalidRequestError(f"overrides: {words}", param="overrides") from exc
    details = {"overrides": overrides.model_dump(exclude_defaults=True)}
    return Wish(Kind.MODEL, Action.INSTALL, name, data["id"], asked_by, details)


def _described(data: dict[str, Any], asked_by: str) -> Wish:
    """A model that is in no gallery: its address, or its files one by one."""
    files = data.get("files") or []
    url = data.get("url") or ""
    if url and files:
        raise InvalidRequestError("url and files do not go together", param="files")
    if url:
        files = [_file_at(url)]
    name = data.get("name") or _name_at(url)
    entry = {"name": name, "files": files} | {
        key: data[key] for key in _DESCRIBED if data.get(key) is not None
    }
    try:
        checked = Entry.model_validate(entry)
    except ValidationError as exc:
        place, words = first_fault(exc)
        raise InvalidRequestError(words, param=str(place[0]) if place else None) from exc
    details = {"entry": checked.model_dump(exclude_defaults=True)}
    shown = url.partition("?")[0] or checked.name  # a query may hold a secret
    return Wish(Kind.MODEL, Action.INSTALL, checked.name, shown, asked_by, details)


def _file_at(url: str) -> dict[str, Any]:
    try:
        source = read_source(url)
    except ValueError as exc:
        raise InvalidRequestError(f"url: {exc}", param="url") from exc
    filename = "."
    if isinstance(source, WebSource):
        filename = source.url.partition("?")[0].rpartition("/")[2]
        if not filename or "%" in filename:
            raise InvalidRequestError("url: wants an address of a file", param="url")
    if isinstance(source, WheelSource):
        raise InvalidRequestError("url: a package wants its sha256: use files", param="url")
    return {"filename": filename, "uri": url}


def _name_at(url: str) -> str:
    """A repository's own name serves as the model's; everything else wants one."""
    source = read_source(url) if url else None
    if isinstance(source, HubSource):
        return source.repository
    raise InvalidRequestError("name is required", param="name")
