"""The backends of this machine: which are installed, which version of each counts, what goes.

`NAME/DIGEST/` below the backends path is one environment. It is whole once `installed` is in it, which
is written last (R-16); `backend.json` keeps its recipe, so that it serves on where no gallery has it
any more. `NAME/current` names the version that counts: an upgrade makes a new environment beside the
old one and then moves that word (R-33). An old one is `replaced` and goes once no engine uses it.
"""

import json
import logging
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import ValidationError

from accounts.runtime import env
from inference.backend_galleries import Offer, configured, every, shelves
from inference.model_folders import GONE
from inference.recipe_schema import RecipeFile, is_backend_name
from inference.recipes import Recipe, built_in, recipe_of

log = logging.getLogger("gatehouse.backends")
MARK, NOTE, CURRENT, REPLACED, MAKING = "installed", "backend.json", "current", "replaced", "making"
REMEMBERED_S = 0.2
_memory: dict[tuple[Any, ...], tuple[float, dict[str, Recipe]]] = {}


@dataclass(frozen=True, slots=True)
class Here:
    """An installed backend: the version that counts."""

    recipe: Recipe
    folder: Path
    gallery: str = ""
    uri: str = ""
    alias: str = ""
    installed_at: str = ""


def installed_backends() -> dict[str, Here]:
    """What is installed, by name, as the disk has it at this moment."""
    found: dict[str, Here] = {}
    try:
        folders = sorted(env().backends_path.iterdir())
    except OSError:  # nothing was ever installed
        return found
    for folder in folders:
        if is_backend_name(folder.name) and (here := _here(folder)) is not None:
            found[folder.name] = here
    return found


def in_force() -> dict[str, Recipe]:
    """The recipe that counts of each backend that is installed or offered; remembered for a moment."""
    key = (env().backends_path, tuple(configured()))
    now = time.monotonic()
    at, known = _memory.get(key, (0.0, {}))
    if at and now - at < REMEMBERED_S:
        return known
    found: dict[str, Recipe] = {}
    for each in every(shelves(offline=True)):
        found.setdefault(each.recipe.name, each.recipe)
    found |= {name: here.recipe for name, here in installed_backends().items()}
    _memory.clear()
    _memory[key] = (now, found)
    return found


def forget() -> None:
    """This process changed something: look at the disk again."""
    _memory.clear()


def note_of(offer: Offer, *, alias: str = "") -> dict[str, Any]:
    """What is kept in its folder."""
    return {
        "recipe": offer.described.described(),
        "gallery": offer.gallery,
        "uri": offer.uri,
        "alias": alias,
        "installed_at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    }


def make_current(recipe: Recipe, *, replaces: bool = False) -> None:
    """From now on this version counts; `replaces`: the one before is let go.

    Others stay: another release of this server, with the same backends path, may want them.
    """
    folder = recipe.folder(env().backends_path)
    before = _here(folder.parent)
    draft = folder.parent / f".{CURRENT}-{uuid4().hex}"
    draft.write_text(recipe.digest)
    (folder / REPLACED).unlink(missing_ok=True)
    draft.replace(folder.parent / CURRENT)
    if replaces and before is not None and before.folder != folder:
        (before.folder / REPLACED).touch()
    forget()


def versions(name: str) -> list[Path]:
    """The whole environments of a backend, also those that a deletion which broke off took down."""
    return [
        each
        for each in _environments(env().backends_path / name)
        if (each / MARK).exists() or (each / f".{MARK}").exists()
    ]


def take_down(folders: list[Path]) -> None:
    """These are not installed from now on; they are still there. `put_back` undoes it."""
    for folder in folders:
        if (folder / MARK).exists():
            (folder / MARK).rename(folder / f".{MARK}")
    forget()


def put_back(folders: list[Path]) -> None:
    """What `take_down` took down serves again."""
    for folder in folders:
        (folder / f".{MARK}").rename(folder / MARK)
    forget()


def is_replaced(folder: Path) -> bool:
    """Whether an upgrade let go of this version; it goes once no engine has it (`remove_replaced`)."""
    return (folder / REPLACED).exists()


def remove(folders: list[Path], *, wait: bool = True) -> None:
    """Remove folders of backends, so that no half of one is ever seen under its name."""
    gone = []
    for folder in folders:
        aside = env().backends_path / f"{GONE}{uuid4().hex}"
        with suppress(OSError):  # somebody else was first
            folder.rename(aside)
            gone.append(aside)
            _remove_empty(folder.parent)
    forget()
    _delete(gone, wait=wait)


def _remove_empty(folder: Path) -> None:
    """A backend without a version is none."""
    if not _environments(folder):
        for left in (CURRENT, ".lock"):
            (folder / left).unlink(missing_ok=True)
        folder.rmdir()


def clear_away(is_over: dict[str, bool]) -> None:
    """Remove what installations of ours left half-made, and what was being removed (R-16).

    `is_over` says of an operation's id whether it has ended; others are of other servers.
    """
    half_made = []
    for folder in _all_environments():
        if (folder / MARK).exists() or (folder / f".{MARK}").exists():
            continue
        if is_over.get(_text(folder / MAKING), False):
            half_made.append(folder)
    remove(half_made, wait=False)
    _delete(list(env().backends_path.glob(f"{GONE}*")), wait=False)


def remove_replaced(in_use: set[tuple[str, str]]) -> None:
    """Remove versions that were replaced and that no engine uses: `in_use` are (name, digest)."""
    idle = [
        folder
        for folder in _all_environments()
        if is_replaced(folder)
        and (folder.parent.name, folder.name) not in in_use
        and _text(folder.parent / CURRENT) not in {"", folder.name}
    ]
    remove(idle, wait=False)


def making() -> set[str]:
    """The operations whose half-made environments are here."""
    found = {_text(each / MAKING) for each in _all_environments() if not (each / MARK).exists()}
    return found - {""}


def _here(folder: Path) -> Here | None:
    whole = {each.name: each for each in _whole(folder)}
    if not whole:
        return None
    own = built_in().get(folder.name)
    chosen = _text(folder / CURRENT)
    if chosen not in whole:
        is_own = own is not None and own.digest in whole
        newest = max(whole, key=lambda name: (whole[name] / MARK).stat().st_mtime)
        chosen = own.digest if own is not None and is_own else newest
    at = whole[chosen]
    note = _note(at / NOTE, _changed(at / NOTE))
    if own is not None and own.digest == chosen:
        recipe: Recipe | None = own  # its words come with this program
    else:
        recipe = _recipe_in(note, chosen)
    if recipe is None or recipe.name != folder.name:
        return None
    alias = str(note.get("alias", ""))
    if alias:
        recipe = replace(recipe, tags=(*recipe.tags, alias))
    said = {key: str(note.get(key, "")) for key in ("gallery", "uri", "installed_at")}
    return Here(recipe, at, alias=alias, **said)


@lru_cache(maxsize=64)
def _note(path: Path, _changed_ns: int) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _recipe_in(note: dict[str, Any], digest: str) -> Recipe | None:
    """None for an environment of an older version of this program, which kept no recipe."""
    if "recipe" not in note:
        return None
    try:
        return recipe_of(RecipeFile.model_validate(note["recipe"]), digest=digest)
    except ValidationError:
        log.warning("a recipe of an installed backend is not one any more")
        return None


def _environments(folder: Path) -> list[Path]:
    """The versions below a backend's folder, whole or not."""
    try:
        return [
            each for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".")
        ]
    except OSError:
        return []


def _whole(folder: Path) -> list[Path]:
    return [each for each in _environments(folder) if (each / MARK).exists()]


def _all_environments() -> list[Path]:
    return [
        each
        for folder in _environments(env().backends_path)
        if is_backend_name(folder.name)
        for each in _environments(folder)
    ]


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _delete(folders: list[Path], *, wait: bool) -> None:
    """An environment has tens of thousands of files: nobody who has other work waits for that."""

    def work() -> None:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)

    if wait:
        work()
    elif folders:
        threading.Thread(target=work, name="remove", daemon=True).start()
