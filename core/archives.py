"""Unpacking archives from elsewhere: plain files below one folder, within bounds, or nothing."""

import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MAX_HEADER = 64 * 1024
_HEADERS = {
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
}
MAX_FILES, MAX_NAME_CHARS, PIECE = 10_000, 300, 1024 * 1024


class ArchiveError(Exception):
    """One line that says why an archive is not taken."""


def is_archive(name: str) -> bool:
    return name.lower().endswith(ENDINGS)


def unpack(archive: Path, to: Path, *, max_bytes: int) -> None:
    """All of it into `to`, which is made; on any fault `to` goes again. Raises ArchiveError, OSError.

    Refused whole: names that lead out, links, devices, more than `max_bytes` or MAX_FILES.
    """
    to.mkdir(parents=True)
    try:
        with archive.open("rb") as file:
            if zipfile.is_zipfile(file):
                file.seek(0)
                _write(_of_zip(file), to, max_bytes)
            else:
                file.seek(0)
                _write(_of_tar(file), to, max_bytes)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, ValueError, RuntimeError) as exc:
        shutil.rmtree(to, ignore_errors=True)
        raise ArchiveError("The archive is damaged, or not one.") from exc
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as exc:
        shutil.rmtree(to, ignore_errors=True)
        raise ArchiveError("The archive holds the same name twice.") from exc
    except NotImplementedError as exc:
        shutil.rmtree(to, ignore_errors=True)
        raise ArchiveError("The archive is packed in a way that is not known here.") from exc
    except BaseException:
        shutil.rmtree(to, ignore_errors=True)
        raise


def _of_zip(file: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(file) as archive:
        for n_before, info in enumerate(archive.infolist()):
            _count(n_before)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
                raise ArchiveError("The archive holds a link or a device.")
            if not info.is_dir():
                with archive.open(info) as member:
                    yield info.filename, member


def _of_tar(file: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(fileobj=file, mode="r:*", tarinfo=_Member) as archive:
        for n_before, info in enumerate(archive):
            _count(n_before)
            archive.members = []  # type: ignore[attr-defined]  # it would keep every one
            if info.isdir():
                continue
            member = archive.extractfile(info) if info.isreg() else None
            if member is None:
                raise ArchiveError("The archive holds a link or a device.")
            yield info.name, member


class _Member(tarfile.TarInfo):
    """A member whose own headers are bounded: tarfile reads them whole, and they may be packed too."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _HEADERS and self.size > MAX_HEADER:
            raise ArchiveError("The archive is damaged, or not one.")
        made: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return made


def _write(members: Iterator[tuple[str, IO[bytes]]], to: Path, max_bytes: int) -> None:
    left = max_bytes
    for name, member in members:
        target = to.joinpath(*_parts(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:  # the same name twice is an error, not the last one's
            while piece := member.read(PIECE):
                left -= len(piece)
                if left < 0:
                    raise ArchiveError("The archive unpacks to more than is taken.")
                out.write(piece)


def _count(n_before: int) -> None:
    """Folders count as well: a packed million of them is small."""
    if n_before >= MAX_FILES:
        raise ArchiveError(f"The archive holds more than {MAX_FILES} files.")


def _parts(name: str) -> tuple[str, ...]:
    path = PurePosixPath(name)
    odd = "\\" in name or not name.isprintable() or len(name) > MAX_NAME_CHARS
    if odd or path.is_absolute() or ".." in path.parts or not path.parts:
        raise ArchiveError("The archive holds a name that leads out of it.")
    return path.parts
