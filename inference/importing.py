"""Importing a model: a configuration with the files it needs, or an address alone (R-17, R-19)."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from accounts.runtime import env
from core.errors import InvalidRequestError
from core.fetch_addresses import FetchError
from core.fetcher import Limits
from core.strict_yaml import Document
from inference.fetching import fetcher
from inference.gallery_schema import Entry, first_fault
from inference.installing import InstallError
from inference.local_files import read_local
from inference.model_configuration import (
    MAX_CHARS,
    Configuration,
    ConfigurationFaultError,
    as_data,
    checked,
    document_of,
)
from inference.model_folders import model_folder
from inference.model_names import taken, taken_for_aliases
from inference.model_sources import LocalSource, WebSource, read_source
from inference.operations import Action, Kind, Wish
from inference.wanted_models import holds_nul, wish_in

_PREFERENCES = {"name", "backend"}
_CONFIGURATION = re.compile(r"(?:https?|file):[^?#]*\.ya?ml(?:\?[^#]*)?", re.IGNORECASE)
_LIMITS = Limits(max_bytes=MAX_CHARS, connect_s=5, read_s=10, total_s=20)
_HUB_PAGE = re.compile(r"https://(?:www\.)?huggingface\.co/([^/?#]+/[^/?#]+?)/?")


def wish_for_uri(data: dict[str, Any], asked_by: str) -> Wish:
    """`{uri, preferences: {name, backend}}`: a model's address, or that of a configuration (`.yaml`).

    Raises InvalidRequestError that names what is wrong.
    """
    uri, preferences = data.get("uri"), data.get("preferences") or {}
    if not isinstance(uri, str) or not uri.strip():
        raise InvalidRequestError("uri is required", param="uri")
    if unknown := sorted(set(data) - {"uri", "preferences"}):
        raise InvalidRequestError(f"unknown key {unknown[0][:60]}", param=unknown[0][:60])
    if not isinstance(preferences, dict):
        raise InvalidRequestError("preferences has to be an object", param="preferences")
    if unknown := sorted(set(preferences) - _PREFERENCES):
        raise InvalidRequestError(
            f"preferences take {' and '.join(sorted(_PREFERENCES))}", param="preferences"
        )
    if not all(isinstance(value, str) for value in preferences.values()):
        raise InvalidRequestError("preferences: name and backend are texts", param="preferences")
    uri, chosen = uri.strip(), {key: value for key, value in preferences.items() if value}
    if _CONFIGURATION.fullmatch(uri):
        try:
            document = document_of(_text_at(uri))
        except (ConfigurationFaultError, FetchError, InstallError) as exc:
            raise InvalidRequestError(f"uri: {exc}", param="uri") from exc
        return wish_for_import(document.data | chosen, document, asked_by)
    page = _HUB_PAGE.fullmatch(uri)
    return wish_in({"url": f"hf:{page[1]}" if page else uri} | chosen, asked_by)


def _text_at(uri: str) -> str:
    """A configuration on another server, or in a file below the models path (R-07).

    Raises ConfigurationFaultError, FetchError, InstallError.
    """
    try:
        source = read_source(uri)
    except ValueError as exc:
        raise ConfigurationFaultError(str(exc)) from exc
    if isinstance(source, LocalSource):
        return read_local(source, env().models_path, max_bytes=MAX_CHARS)
    try:
        return fetcher().read(uri, limits=_LIMITS).decode()
    except UnicodeDecodeError as exc:
        raise ConfigurationFaultError("it is not text") from exc


def wish_for_import(data: Mapping[str, Any], document: Document | None, asked_by: str) -> Wish:
    """A configuration, with `files` or a `source` to fetch from; without them the model's folder is
    below the models path already.

    Raises InvalidRequestError that names what is wrong, with its line where the body was YAML.
    """
    if holds_nul(dict(data)):
        raise InvalidRequestError("a text holds a character that may not be there")
    files = data.get("files")
    try:
        wanted = checked({k: v for k, v in data.items() if k != "files"}, document)
        _check_free(wanted, document)
        details: dict[str, Any] = {"configuration": as_data(wanted)}
        if files is not None or wanted.source:
            entry = _entry(wanted, files, document)
            details["entry"] = entry.model_dump(exclude_defaults=True)
        elif not model_folder(wanted.name, env().models_path).is_dir():
            raise ConfigurationFaultError(
                "source: wants an address, or files, or a folder of this name below the models path",
                param="source",
            )
    except ConfigurationFaultError as exc:
        raise InvalidRequestError(str(exc), param=exc.param) from exc
    shown = wanted.source.partition("?")[0] or wanted.name  # a query may hold a secret
    return Wish(Kind.MODEL, Action.INSTALL, wanted.name, shown, asked_by, details)


def _check_free(wanted: Configuration, document: Document | None) -> None:
    """The names it wants may be gone when its turn comes; then it fails saying the same."""
    held = taken_for_aliases(wanted.aliases) | taken([wanted.name])
    for key, names in (("name", [wanted.name]), ("aliases", wanted.aliases)):
        for name in names:
            if name in held or (key == "aliases" and name == wanted.name):
                what = held.get(name, "its own name")
                line = document.line_of((key,)) if document else None
                raise ConfigurationFaultError(
                    f"{key}: {name} is {what} already", param=key, line=line
                )


def _entry(wanted: Configuration, files: Any, document: Document | None) -> Entry:
    """What the installation takes. Raises ConfigurationFaultError."""
    if files is not None and wanted.source:
        raise ConfigurationFaultError("files and source do not go together", param="files")
    try:
        listed = files if files is not None else [_file(wanted)]
        return Entry.model_validate(
            {
                "name": wanted.name,
                "description": wanted.description,
                "backend": wanted.backend,
                "files": listed,
                "overrides": {"capabilities": wanted.capabilities, "options": wanted.options},
            }
        )
    except ValidationError as exc:
        place, words = first_fault(exc)
        line = document.line_of(place) if document else None
        param = str(place[0]) if place else "files"
        raise ConfigurationFaultError(words, param=param, line=line) from exc


def _file(wanted: Configuration) -> dict[str, Any]:
    """The one file that `source` means. Raises ConfigurationFaultError."""
    try:
        source = read_source(wanted.source)
    except ValueError as exc:
        raise ConfigurationFaultError(f"source: {exc}", param="source") from exc
    if wanted.checksum and not isinstance(source, WebSource | LocalSource):
        raise ConfigurationFaultError(
            "checksum: only of one file; what a repository holds is checked by its own list",
            param="checksum",
        )
    filename = "."
    if isinstance(source, WebSource):
        filename = source.url.partition("?")[0].rpartition("/")[2] or "model"
    return {"filename": filename, "uri": wanted.source, "sha256": wanted.checksum or None}
