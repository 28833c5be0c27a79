"""A model's configuration as a file: `gatehouse.yaml` in its folder, kept in step with its row.

The row is what counts; the file is its copy, and a way in: `POST /models/reload` reads what somebody
changed in it. `Model.file_digest` is that of the file when both last agreed, so that a file that we
could not write any more (a crash) is told from one that somebody edited.
"""

import hashlib
import logging
import os
import secrets
import stat
from pathlib import Path
from typing import Literal

from accounts.runtime import env
from core.files import AlreadyHeldError, exclusive
from inference import model_configuration
from inference.model_configuration import MAX_CHARS, ConfigurationFaultError
from inference.model_folders import CONFIGURATION
from inference.models import Model

log = logging.getLogger("gatehouse.models")
LOCK_S = 10.0
Standing = Literal["none", "agrees", "behind", "edited"]


def place_of(row: Model) -> Path | None:
    """Where its file is; None for a model whose folder lies elsewhere, or is not on this machine."""
    folder = Path(row.directory)
    if folder.parent != env().models_path or not _is_folder(folder):
        return None
    return folder / CONFIGURATION


def _is_folder(path: Path) -> bool:
    """No link to one, and one that may be looked into."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def standing(row: Model) -> Standing:
    """`behind`: ours to write, it is missing or older. `edited`: somebody changed it by hand."""
    place = place_of(row)
    if place is None:
        return "none"
    try:
        found = _digest(_bytes_at(place))
    except FileNotFoundError:
        return "behind"
    except (OSError, ConfigurationFaultError):
        return "edited"
    if found == _digest(_text(row)):
        return "agrees"
    return "behind" if found == row.file_digest else "edited"


def agreed_digest(row: Model) -> str:
    """What to keep as `file_digest` with a change of the row: that of the file as it is, where it agrees.

    The note of it may have been lost in a crash; the file would be taken for one edited by hand.
    """
    return _digest(_text(row)) if standing(row) == "agrees" else row.file_digest


def text_at(row: Model) -> str:
    """What is in its file. Raises ConfigurationFaultError where that cannot be read."""
    place = place_of(row)
    try:
        return _bytes_at(place).decode() if place is not None else ""
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationFaultError("it is no plain text file that can be read") from exc


def keep(*names: str, anew: bool = False) -> None:
    """Write the files of these models where they are behind; `anew` whatever is there.

    To be called once the change is committed: what is written is what the rows say then, so that the
    last of several writers leaves the last state. A file that cannot be written is written at the next
    reload or start; the row counts meanwhile.
    """
    try:
        with exclusive(env().data_path / "state" / "model-files.lock", timeout_s=LOCK_S):
            for row in Model.objects.filter(pk__in=names).prefetch_related("aliases"):
                if standing(row) == "behind" or (anew and place_of(row) is not None):
                    _write(row)
                _note(row)
    except (OSError, AlreadyHeldError) as exc:
        log.warning("a model's configuration file was not written: %s", type(exc).__name__)


def _write(row: Model) -> None:
    place = place_of(row)
    assert place is not None  # noqa: S101  # its standing said so
    draft = place.with_name(f".{CONFIGURATION}.{secrets.token_hex(8)}")
    try:
        with draft.open("xb") as file:
            file.write(_text(row))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)


def _note(row: Model) -> None:
    """Row and file agree: that is what the next look goes by."""
    digest = _digest(_text(row))
    if standing(row) == "agrees" and row.file_digest != digest:
        Model.objects.filter(pk=row.pk).update(file_digest=digest)


def _text(row: Model) -> bytes:
    return model_configuration.as_yaml(model_configuration.of_row(row)).encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _bytes_at(place: Path) -> bytes:
    """A plain file's, no link's. Raises OSError; ConfigurationFaultError for one that is too long."""
    fd = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError("not a plain file")
        content = file.read(MAX_CHARS * 4 + 1)
    if len(content) > MAX_CHARS * 4:
        raise ConfigurationFaultError(f"longer than {MAX_CHARS} characters")
    return content


def size_of(folder: Path) -> int | None:
    """The bytes of a model's files; None where its folder is not on this machine."""
    if not _is_folder(folder):
        return None
    total = 0
    for path, _folders, files in os.walk(folder):
        for name in files:
            try:
                found = (Path(path) / name).lstat()
            except OSError:  # it went meanwhile
                continue
            total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return total
