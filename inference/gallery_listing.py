"""The gallery as a list: searched, filtered, sorted, cut into pages (surface, `GET /api/models`)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from inference.gallery import Found
from inference.hardware import model_memory

SORTS = ("name", "repository", "license", "status", "size", "newest")
MAX_ITEMS, MAX_PAGE = 10_000, 1_000_000
_WITH_SPACE = 1.25  # what a model needs beside its weights, at the least
_TIGHT = 0.8
T = TypeVar("T")
_MULTIMODAL = frozenset({"vision", "image", "video", "tts", "transcript"})


@dataclass(frozen=True, slots=True)
class Query:
    """What of the gallery is wanted. `tags` have all to be met; `fits` None is no filter."""

    term: str = ""
    tags: tuple[str, ...] = ()
    backend: str = ""
    fits: bool | None = None
    sort: str = "name"
    descending: bool = False
    page: int = 1
    items: int = 9


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of what was found, and where it is among the others."""

    found: list[T]
    n_found: int
    page: int
    n_pages: int

    @property
    def previous(self) -> int:
        return max(1, self.page - 1)

    @property
    def following(self) -> int:
        return min(self.n_pages, self.page + 1)


def memory_need(each: Found) -> int | None:
    """Bytes of memory that its weights and the space beside them take; None where nobody knows."""
    size = each.entry.checked.size if each.entry.checked else None
    return None if size is None else int(size * _WITH_SPACE)


def fits(each: Found) -> bool | None:
    """Whether this machine's memory holds it; None where its size or the memory is unknown."""
    need, memory = memory_need(each), model_memory()
    if need is None or memory is None:
        return None
    return need <= memory


def is_tight(each: Found) -> bool:
    """Whether it fits and leaves hardly anything for others."""
    need, memory = memory_need(each), model_memory()
    return need is not None and memory is not None and _TIGHT * memory < need <= memory


def search(entries: list[Found], query: Query, *, installed: set[str]) -> Page[Found]:
    """`installed` are the names of the models that are here, for `sort=status`."""
    found = [each for each in entries if _meets(each, query)]
    found.sort(key=lambda each: (each.entry.name, each.gallery))
    if query.sort != "name":
        _sort(found, query, installed)
    elif query.descending:
        found.reverse()
    return cut(found, query)


def cut(found: list[T], query: Query) -> Page[T]:
    """The page that is asked for."""
    n_pages = max(1, -(-len(found) // query.items))
    begin = (query.page - 1) * query.items
    return Page(found[begin : begin + query.items], len(found), query.page, n_pages)


def holds(term: str, *texts: str) -> bool:
    """Whether the texts together hold every word of `term`."""
    whole = " ".join(texts).lower()
    return all(word in whole for word in term.lower().split())


def _meets(each: Found, query: Query) -> bool:
    entry = each.entry
    if not holds(query.term, entry.name, entry.description, each.gallery, *entry.tags):
        return False
    if query.backend and query.backend not in {entry.backend, entry.recipe_name}:
        return False
    if query.fits is not None and fits(each) is not query.fits:
        return False
    return all(_is_tagged(each, tag) for tag in query.tags)


def _is_tagged(each: Found, tag: str) -> bool:
    can = each.entry.capabilities
    if tag == "multimodal" and can & _MULTIMODAL:
        return True
    return tag in can or tag in each.entry.tags


def _sort(found: list[Found], query: Query, installed: set[str]) -> None:
    """Stable, so that names decide between equals; what is unknown comes last either way."""
    keys: dict[str, Callable[[Found], Any]] = {
        "repository": lambda each: each.gallery,
        "license": lambda each: each.entry.license.lower() or None,
        "status": lambda each: each.entry.name not in installed,
        "size": lambda each: each.entry.checked.size if each.entry.checked else None,
        "newest": lambda each: each.entry.added,
    }
    key = keys[query.sort]
    newest_first = query.sort == "newest"
    known = [each for each in found if key(each) is not None]
    unknown = [each for each in found if key(each) is None]
    known.sort(key=key, reverse=query.descending != newest_first)
    found[:] = known + unknown
