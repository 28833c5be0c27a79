"""Model files that are on this machine already: below one folder, and plain files only (R-07)."""

import hashlib
import shutil
import stat
from pathlib import Path

from inference.gallery_schema import File
from inference.installing import InstallError
from inference.model_sources import LocalSource

MAX_FILES = 10_000


def copy_local(source: LocalSource, allowed: Path, to: Path, file: File) -> dict[str, str]:
    """Copy a file, or a folder of them, from below `allowed`; their checksums by name.

    Raises InstallError for whatever lies elsewhere, is a link, or is no plain file.
    """
    found = _below(Path(source.path), allowed)
    if found.is_dir():
        digests: dict[str, str] = {}
        for each in sorted(found.rglob("*")):
            kind = each.lstat().st_mode
            if stat.S_ISDIR(kind):
                continue
            name = str(each.relative_to(found))
            if len(digests) >= MAX_FILES:
                raise InstallError(f"The folder holds more than {MAX_FILES} files.")
            digests[name] = _copy(each, to / name)
        if not digests:
            raise InstallError("The folder is empty.")
        _check(file, "")
        return digests
    name = found.name if file.filename == "." else file.filename
    digest = _copy(found, to / name)
    _check(file, digest)
    return {name: digest}


def read_local(source: LocalSource, allowed: Path, *, max_bytes: int) -> str:
    """The text of a small file below `allowed`. Raises InstallError."""
    found = _below(Path(source.path), allowed)
    try:
        if not stat.S_ISREG(found.lstat().st_mode) or found.stat().st_size > max_bytes:
            raise InstallError(f"{found.name} is not a plain file of at most {max_bytes} bytes.")
        return found.read_text("utf-8")
    except UnicodeDecodeError as exc:
        raise InstallError(f"{found.name} is not text.") from exc
    except OSError as exc:
        raise InstallError(f"{found.name} cannot be read: {exc.strerror}.") from exc


def _check(file: File, digest: str) -> None:
    if file.sha256 and file.sha256 != digest:
        raise InstallError("The file is not the one that was announced (sha256).")


def _below(path: Path, allowed: Path) -> Path:
    """Where it really is. No step on the way may be a link, so that nobody is led out."""
    root = allowed.resolve()
    wanted = path if path.is_absolute() else root / path
    shown = "The file is not below the models path, or its gallery's own folder."
    try:
        found = wanted.resolve(strict=True)
    except (OSError, RuntimeError) as exc:
        raise InstallError(shown) from exc  # what is elsewhere is not told apart from what is not
    if found == root or not found.is_relative_to(root) or ".staging" in found.parts:
        raise InstallError(shown)
    base = allowed if path.is_absolute() else root
    if not wanted.is_relative_to(base) or found != root / wanted.relative_to(base):
        raise InstallError("The way to the file leads over a link.")
    return found


def _copy(found: Path, target: Path) -> str:
    if not stat.S_ISREG(found.lstat().st_mode):
        raise InstallError(f"{found.name} is not a plain file.")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(found, target, follow_symlinks=False)
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
