"""The galleries: the built-in one, or those that the environment or an admin names in its place (R-03)."""

from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from accounts.runtime import env, stored_settings
from accounts.runtime_settings.in_force import value
from core.gallery_list import GalleryAt
from inference.fetched_galleries import expire, is_at_hand
from inference.gallery_schema import Entry, read_entries
from inference.shelves import Shelf, read_shelf, read_shelves

BUILT_IN = Path(__file__).parent / "gallery.yaml"
BUILT_IN_NAME = "gatehouse"
BUILT_IN_AT = GalleryAt.model_construct(name=BUILT_IN_NAME, url="built-in")


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


def shelves(*, offline: bool = False) -> list[Shelf[Entry]]:
    """Every gallery; what cannot be read is logged and said on its shelf.

    `offline` asks nobody: of galleries elsewhere it has what was fetched before.
    """
    return read_shelves(configured(), partial(_read, offline=offline), offline=offline)


def are_at_hand() -> bool:
    """Whether reading the galleries asks no other server just now."""
    elsewhere = [each.url for each in configured() if each.url.startswith(("http:", "https:"))]
    return all(is_at_hand(url) for url in elsewhere)


def expire_all() -> None:
    """Have every gallery elsewhere fetched anew at the next look."""
    for each in configured():
        if each.url.startswith(("http:", "https:")):
            expire(each.url)


def every(read: list[Shelf[Entry]]) -> list[Found]:
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


def _read(gallery: GalleryAt, *, offline: bool) -> Shelf[Entry]:
    if gallery is BUILT_IN_AT:
        return Shelf(gallery, tuple(built_in_gallery().values()))
    return read_shelf(gallery, _entries, offline=offline)


def _entries(text: str, called: str, _uri: str) -> tuple[Entry, ...]:
    return tuple(read_entries(text, called=called))
