"""Galleries as they are read, whatever they hold: one that cannot be read leaves the others (R-04)."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote, unquote, urlsplit

from core.fetch_addresses import FetchError
from core.gallery_list import GalleryAt
from core.strict_yaml import MAX_CHARS
from inference.fetched_galleries import fetched_text
from inference.strict_entries import GalleryFaultError

log = logging.getLogger("gatehouse.galleries")
MAX_FILES, MAX_AT_ONCE = 500, 8
E = TypeVar("E")
# (text, what it is called in a fault, the address of this very file) -> its entries
Reader = Callable[[str, str, str], tuple[E, ...]]


@dataclass(frozen=True, slots=True)
class Shelf(Generic[E]):
    """One gallery as it was read: its entries, or the one line that says why there are none.

    `folder` is where a `file://` gallery may take files from (R-07), None for the others.
    """

    gallery: GalleryAt
    entries: tuple[E, ...] = ()
    fault: str = ""
    folder: Path | None = None


def read_shelves(
    galleries: Sequence[GalleryAt], read: Callable[[GalleryAt], Shelf[E]], *, offline: bool
) -> list[Shelf[E]]:
    """Every gallery by `read`; those elsewhere are asked at the same time, unless `offline`."""
    elsewhere = [each for each in galleries if each.url.startswith(("http:", "https:"))]
    if offline or len(elsewhere) < 2:
        return [read(gallery) for gallery in galleries]
    with ThreadPoolExecutor(MAX_AT_ONCE) as pool:  # one that is slow holds up none but itself
        return list(pool.map(read, galleries))


def read_shelf(gallery: GalleryAt, reader: Reader[E], *, offline: bool) -> Shelf[E]:
    """`offline` asks nobody: of galleries elsewhere it has what was fetched before."""
    called = f"gallery {gallery.name}"
    try:
        if gallery.url.startswith("file:"):
            return _on_disk(gallery, Path(unquote(urlsplit(gallery.url).path)), called, reader)
        text, problem = fetched_text(gallery.url, offline=offline)
        entries, fault = _parsed(text, called, gallery.url, reader)
        if fault:
            raise GalleryFaultError(fault)
        return Shelf(gallery, entries, problem and f"{called}: {problem}")
    except (GalleryFaultError, FetchError) as exc:
        said = str(exc) if str(exc).startswith(called) else f"{called}: {exc}"
    except (OSError, UnicodeDecodeError) as exc:
        said = f"{called}: it cannot be read ({type(exc).__name__})"
    except Exception as exc:  # whatever a stranger's file does, the other galleries are read
        log.exception("%s cannot be read", called)
        said = f"{called}: it cannot be read ({type(exc).__name__})"
    if not offline:  # else it is looked at all the time
        log.warning("%s", said)
    return Shelf(gallery, fault=said)


def plain_text(file: Path, called: str) -> str:
    """The text of a plain file of a bounded size. Raises GalleryFaultError, OSError."""
    found = file.lstat()
    if not file.is_file() or file.is_symlink() or found.st_size > MAX_CHARS:
        raise GalleryFaultError(f"{called}, {file.name}: wants a plain file of at most 4 MiB")
    return file.read_text()


def _on_disk(gallery: GalleryAt, path: Path, called: str, reader: Reader[E]) -> Shelf[E]:
    """A file, or every `.yaml` of a folder; plain files only."""
    folder = path if path.is_dir() else path.parent
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    if len(files) > MAX_FILES:
        raise GalleryFaultError(f"{called}: more than {MAX_FILES} files")
    entries: list[E] = []
    for file in files:
        found = file.lstat()
        shown = f"{called}, {file.name}" if path.is_dir() else called
        entries += _of_file(file, found.st_mtime_ns, found.st_size, shown, reader)
    return Shelf(gallery, tuple(entries), folder=folder)


@lru_cache(maxsize=256)
def _of_file(
    file: Path, _changed_ns: int, _size: int, called: str, reader: Reader[Any]
) -> tuple[Any, ...]:
    text = plain_text(file, called.partition(",")[0])
    return reader(text, called, f"file://{quote(str(file))}")


@lru_cache(maxsize=32)
def _parsed(text: str, called: str, uri: str, reader: Reader[Any]) -> tuple[tuple[Any, ...], str]:
    """The entries, or what is wrong: a big one that is faulty is not read again and again."""
    try:
        return reader(text, called, uri), ""
    except GalleryFaultError as exc:
        return (), str(exc)
