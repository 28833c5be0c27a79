"""The galleries: the built-in one, or those that the environment or an admin names in its place (R-03)."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from accounts.runtime import env, stored_settings
from accounts.runtime_settings.in_force import value
from core.fetch_addresses import FetchError
from core.gallery_list import GalleryAt
from core.strict_yaml import MAX_CHARS
from inference.fetched_galleries import fetched_text
from inference.gallery_schema import Entry, GalleryFaultError, read_entries

log = logging.getLogger("gatehouse.galleries")
BUILT_IN = Path(__file__).parent / "gallery.yaml"
BUILT_IN_NAME = "gatehouse"
BUILT_IN_AT = GalleryAt.model_construct(name=BUILT_IN_NAME, url="built-in")
MAX_FILES, MAX_AT_ONCE = 500, 8


@dataclass(frozen=True, slots=True)
class Shelf:
    """One gallery as it was read: its entries, or the one line that says why there are none.

    `folder` is where a `file://` gallery may take files from (R-07), None for the others.
    """

    gallery: GalleryAt
    entries: tuple[Entry, ...] = ()
    fault: str = ""
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """An entry and the gallery that has it."""

    entry: Entry
    gallery: str
    folder: Path | None

    @property
    def id(self) -> str:
        return f"{self.gallery}@{self.entry.name}"


@cache
def built_in_gallery() -> dict[str, Entry]:
    """The entries by name, in the file's order: the first is the default chat model."""
    entries = read_entries(BUILT_IN.read_text(), called=f"gallery {BUILT_IN_NAME}")
    return {entry.name: entry for entry in entries}


def configured() -> list[GalleryAt]:
    """The galleries of this server, in the order in which a bare name is looked for."""
    named = env().galleries
    if named is not None:
        return named
    stored_settings().fresh()
    set_by_admins = [GalleryAt(**each) for each in value("galleries")]
    return set_by_admins or [BUILT_IN_AT]


def shelves(*, offline: bool = False) -> list[Shelf]:
    """Every gallery; what cannot be read is logged and said on its shelf.

    `offline` asks nobody: of galleries elsewhere it has what was fetched before.
    """
    galleries = configured()
    elsewhere = [each for each in galleries if each.url.startswith(("http:", "https:"))]
    if offline or len(elsewhere) < 2:
        return [_read(gallery, offline=offline) for gallery in galleries]
    with ThreadPoolExecutor(MAX_AT_ONCE) as pool:  # one that is slow holds up none but itself
        return list(pool.map(lambda gallery: _read(gallery, offline=False), galleries))


def every(read: list[Shelf]) -> list[Found]:
    """All entries; of two with one id the first counts."""
    found: dict[str, Found] = {}
    for shelf in read:
        for entry in shelf.entries:
            each = Found(entry, shelf.gallery.name, shelf.folder)
            found.setdefault(each.id, each)
    return list(found.values())


def find(asked_for: str, *, offline: bool = False) -> Found | None:
    """The entry that `gallery@name`, or `name` in any gallery, means; None where nothing does."""
    for each in every(shelves(offline=offline)):
        if asked_for in {each.id, each.entry.name}:
            return each
    return None


def local_name(asked_for: str) -> str:
    """The model's name in `gallery@name`."""
    return asked_for.rpartition("@")[2]


def _read(gallery: GalleryAt, *, offline: bool) -> Shelf:
    if gallery is BUILT_IN_AT:
        return Shelf(gallery, tuple(built_in_gallery().values()))
    called = f"gallery {gallery.name}"
    try:
        if gallery.url.startswith("file:"):
            return _on_disk(gallery, Path(unquote(urlsplit(gallery.url).path)), called)
        text, problem = fetched_text(gallery.url, offline=offline)
        entries, fault = _parsed(text, called)
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
    log.warning("%s", said)
    return Shelf(gallery, fault=said)


def _on_disk(gallery: GalleryAt, path: Path, called: str) -> Shelf:
    """A file, or every `.yaml` of a folder; plain files only."""
    folder = path if path.is_dir() else path.parent
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    if len(files) > MAX_FILES:
        raise GalleryFaultError(f"{called}: more than {MAX_FILES} files")
    entries: list[Entry] = []
    for file in files:
        found = file.lstat()
        if not file.is_file() or file.is_symlink() or found.st_size > MAX_CHARS:
            raise GalleryFaultError(f"{called}, {file.name}: wants a plain file of at most 4 MiB")
        shown = f"{called}, {file.name}" if path.is_dir() else called
        entries += _of_file(file, found.st_mtime_ns, found.st_size, shown)
    return Shelf(gallery, tuple(entries), folder=folder)


@lru_cache(maxsize=256)
def _of_file(file: Path, _changed_ns: int, _size: int, called: str) -> tuple[Entry, ...]:
    return tuple(read_entries(file.read_text(), called=called))


@lru_cache(maxsize=32)
def _parsed(text: str, called: str) -> tuple[tuple[Entry, ...], str]:
    """The entries, or what is wrong: a big one that is faulty is not read again and again."""
    try:
        return tuple(read_entries(text, called=called)), ""
    except GalleryFaultError as exc:
        return (), str(exc)
