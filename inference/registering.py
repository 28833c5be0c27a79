"""The row of a model whose folder is whole: made by an installation, or by adopting what is there."""

import hashlib
import json
import logging
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.db import transaction

from accounts.runtime import env, generations
from core.generations import ENGINES
from inference import configuration_files
from inference.gallery_schema import Entry
from inference.installing import InstallError, Report
from inference.model_abilities import of_folder
from inference.model_configuration import Configuration, plain_text, recipe_name
from inference.model_folders import CONFIGURATION, MANIFEST, model_folder
from inference.model_install import Installed, together
from inference.model_names import one_at_a_time, taken, taken_for_aliases
from inference.models import Model, ModelAlias
from inference.recipes import RecipeError, recipe_for

log = logging.getLogger("gatehouse.models")
MAX_FILES = 10_000


def register_model(
    entry: Entry,
    there: Installed,
    *,
    configuration: Configuration | None = None,
    aliases: Sequence[str] = (),
    asked: bool = False,
) -> None:
    """Make the model's row and its file. `configuration` is that of an import; else it gets `aliases`.

    What an admin changed about a model that has a row stays, but where this very installation
    `asked` for something else. Raises InstallError where one of its names is taken.
    """
    folder = model_folder(entry.name, env().models_path)
    facts = {
        "source": there.source,
        "checksum": there.checksum,
        "directory": str(folder),
        "size_bytes": configuration_files.size_of(folder),
    }
    wished = _wished(entry, folder)
    others: set[str] = set()
    with transaction.atomic():
        one_at_a_time()
        refuse_taken(entry.name, aliases)
        rows = Model.objects.select_for_update().prefetch_related("aliases")
        row = rows.filter(pk=entry.name).first()
        if row is not None:
            changed = facts | (wished if asked else {}) | configuration_files.agreed(row)
            Model.objects.filter(pk=row.pk).update(**changed)
        else:
            others = _create(entry.name, facts | wished, configuration)
            ModelAlias.objects.bulk_create(
                ModelAlias(name=alias, model_id=entry.name) for alias in aliases
            )
    configuration_files.keep(entry.name, anew=row is None)
    configuration_files.keep(*others)
    generations().bump(ENGINES)


def _create(name: str, fields: dict[str, Any], configuration: Configuration | None) -> set[str]:
    """The row; who was the default before, where this one is to be."""
    defaults = set(Model.objects.filter(is_default=True).values_list("name", flat=True))
    is_default = not defaults and "chat" in fields["capabilities"]
    if configuration is not None:
        is_default = is_default or configuration.default
        fields |= _configured(configuration)
    if is_default:
        Model.objects.filter(pk__in=defaults).update(is_default=False)
    Model.objects.create(name=name, is_default=is_default, **fields)
    return defaults if is_default else set()


def refuse_taken(name: str, aliases: Sequence[str]) -> None:
    """Raises InstallError where the name, or an alias that it is to have, is another model's."""
    if name in aliases:
        raise InstallError(f"{name} is its own name already.")
    held = taken_for_aliases(aliases, apart_from=[name]) | taken([name], apart_from=[name])
    for each in (name, *aliases):
        if each in held and (each != name or held[each] != "a model"):
            raise InstallError(f"{each} is {held[each]} already.")


def _wished(entry: Entry, folder: Path) -> dict[str, Any]:
    abilities = of_folder(folder)
    return {
        "description": plain_text(entry.description),
        "backend": entry.recipe_name,
        "options": {**abilities.options, **entry.options},
        "capabilities": sorted(entry.capabilities or abilities.capabilities),
    }


def _configured(configuration: Configuration) -> dict[str, Any]:
    return {
        "replicas": configuration.replicas,
        "pinned": configuration.pinned,
        "enabled": configuration.enabled,
        "idle_timeout_s": configuration.idle_timeout,
    }


def find_again(row: Model, entry: Entry) -> None:
    """A configured model that has its row: where its folder is now, and a backend that this machine has."""
    found = {"directory": str(model_folder(row.name, env().models_path))}
    try:
        recipe_for(row.backend)
    except RecipeError:
        found["backend"] = entry.recipe_name
    if any(getattr(row, key) != value for key, value in found.items()):
        Model.objects.filter(pk=row.pk).update(**found)
        generations().bump(ENGINES)


def adopt(configuration: Configuration, report: Report) -> None:
    """Register the folder of that name below the models path, where an admin put it, as it is.

    Nothing of it is copied or changed, but it is the model's from now on: who deletes the model
    deletes it. Raises InstallError where it is no folder of plain files.
    """
    folder = model_folder(configuration.name, env().models_path)
    if folder.is_symlink() or not folder.is_dir():
        raise InstallError(f"There is no folder {folder.name} below the models path.")
    others = Model.objects.filter(directory=str(folder)).exclude(pk=configuration.name)
    if others.exists():
        raise InstallError(f"The folder {folder.name} is another model's.")
    source = f"file:{folder.name}"
    there = Installed(source, together(_digests(folder, report)))
    entry = Entry.model_validate(
        {
            "name": configuration.name,
            "description": configuration.description,
            "backend": recipe_name(configuration.backend),
            "files": [{"filename": ".", "uri": source}],
            "overrides": {
                "capabilities": configuration.capabilities,
                "options": configuration.options,
            },
        }
    )
    register_model(entry, there, configuration=configuration, aliases=configuration.aliases)
    note = {"name": entry.name, "sha256": there.checksum, "source": source, "adopted": True}
    # last: what has a manifest and no row is cleared away as half an installation
    try:
        (folder / MANIFEST).write_text(json.dumps(note))
    except OSError as exc:  # a disk that is only read; the row is what counts
        log.warning("%s was not marked as ours: %s", folder.name, type(exc).__name__)


def _digests(folder: Path, report: Report) -> dict[str, str]:
    paths = [path for path in sorted(folder.rglob("*")) if not _is_ours(path, folder)]
    if len(paths) > MAX_FILES:
        raise InstallError(f"The folder holds more than {MAX_FILES} files.")
    found: dict[str, str] = {}
    for number, path in enumerate(paths):
        report(int(2 + 90 * number / len(paths)), f"reading {path.name}", phase="checking")
        kind = path.lstat().st_mode
        if stat.S_ISDIR(kind):
            continue
        if not stat.S_ISREG(kind):
            raise InstallError(f"{path.name} is not a plain file.")
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            found[str(path.relative_to(folder))] = hashlib.file_digest(file, "sha256").hexdigest()
    if not found:
        raise InstallError("The folder is empty.")
    return found


def _is_ours(path: Path, folder: Path) -> bool:
    """What says something of the model, and hidden things such as a downloader's cache."""
    inside = path.relative_to(folder)
    return str(inside) in {MANIFEST, CONFIGURATION} or inside.parts[0].startswith(".")
