"""A model's configuration as a file: `gatehouse.yaml` in its folder, kept in step with its row.

The row is what counts; the file is its copy, and a way in: `POST /models/reload` reads what somebody
changed in it. `Model.file_digest` notes what we wrote last and what we were about to write, so that a
file that we could not write any more (a crash) is told from one that somebody edited.
"""

import hashlib
import logging
import os
import secrets
import stat
from pathlib import Path
from typing import Literal

from django.db import DatabaseError

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
    return "behind" if found in row.file_digest.split() else "edited"


def agreed(row: Model) -> dict[str, str]:
    """What to write with a change of the row, which is locked: `file_digest`, where the file agrees
    with it and that is not noted. It would be taken for one edited by hand once the row changed.
    """
    digest = _digest(_text(row))
    is_noted = digest in row.file_digest.split()
    return {"file_digest": digest} if not is_noted and standing(row) == "agrees" else {}


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
    reload or start; the row counts meanwhile, and the other files are written.
    """
    try:
        with exclusive(env().data_path / "state" / "model-files.lock", timeout_s=LOCK_S):
            for row in Model.objects.filter(pk__in=names).prefetch_related("aliases"):
                _keep(row, anew=anew)
    except (OSError, AlreadyHeldError, DatabaseError) as exc:
        log.warning("models' configuration files were not written: %s", type(exc).__name__)


def _keep(row: Model, *, anew: bool) -> None:
    try:
        if standing(row) == "behind" or (anew and place_of(row) is not None):
            _write(row)
        elif noted := agreed(row):
            Model.objects.filter(pk=row.pk).update(**noted)
    except OSError as exc:
        what = type(exc).__name__
        log.warning("the configuration file of %s was not written: %s", row.name, what)


def _write(row: Model) -> None:
    """Note first what is there and what is to be there, then put it there: both are ours.

    The note waits for whoever changes the row, who so finds no file that is not noted.
    """
    place = place_of(row)
    assert place is not None  # noqa: S101  # its standing said so
    text = _text(row)
    _note(row, found_digest(place), _digest(text))
    _put(place, text)


def _note(row: Model, *digests: str) -> None:
    noted = " ".join(dict.fromkeys(each for each in digests if each))
    Model.objects.filter(pk=row.pk).update(file_digest=noted)


def found_digest(place: Path) -> str:
    """That of the file as it is; empty where there is none that can be read."""
    try:
        return _digest(_bytes_at(place))
    except (OSError, ConfigurationFaultError):
        return ""


def _put(place: Path, text: bytes) -> None:
    draft = place.with_name(f".{CONFIGURATION}.{secrets.token_hex(8)}")
    try:
        with draft.open("xb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)


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
