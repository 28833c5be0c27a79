"""Where a model's files are: one folder each below the models path, and what marks it as ours."""

import re
import shutil
from pathlib import Path
from uuid import uuid4

MANIFEST = "gatehouse.json"
CONFIGURATION = "gatehouse.yaml"
GONE = ".gone-"  # what is being removed; no model's name begins with a dot
MAX_NAME_CHARS = 200
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")


def is_model_name(name: str) -> bool:
    """Whether a model here may be called so: `name` or `owner/name`, as the hub has them."""
    return len(name) <= MAX_NAME_CHARS and _NAME.fullmatch(name) is not None


def folder_name(name: str) -> str:
    """One folder name for a model's name, which may hold a slash (R-36)."""
    return name.replace("/", "--")


def model_folder(name: str, models_path: Path) -> Path:
    """Raises ValueError for a name that `is_model_name` refuses: no other leads below the path."""
    if not is_model_name(name):
        raise ValueError(f"not a model's name: {name[:100]}")
    return models_path / folder_name(name)


def staging_folder(name: str, models_path: Path) -> Path:
    """Where an installation makes it, on the same disk, before it is moved into place."""
    return models_path / ".staging" / folder_name(name)


def put_in_place(made: Path, final: Path) -> None:
    """Move a finished folder to where it is served from; what we put there before goes first.

    Raises FileExistsError where there is a folder that is not ours.
    """
    if final.exists() and not (final / MANIFEST).exists():
        raise FileExistsError(17, f"{final.name} is there already, and not by us")
    discard(final)
    made.rename(final)


def discard(folder: Path) -> None:
    """Remove a folder so that no half of it is ever seen under its name."""
    if not folder.exists():
        return
    gone = folder.parent / ".staging" / f"{GONE}{uuid4().hex}"
    gone.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)  # whatever is left goes with the next leftovers
