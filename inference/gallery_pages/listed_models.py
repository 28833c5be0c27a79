"""What the page of models lists for an address: filters, entries, installed models, faults."""

import shutil
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.paginator import Paginator
from django.http import QueryDict
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.runtime import env
from accounts.wording import sentence
from core.errors import InvalidRequestError
from inference.api.gallery_requests import query_in
from inference.backends_here import installed_backends
from inference.gallery import Found, are_at_hand, every, shelves
from inference.gallery_listing import Query, holds, search
from inference.gallery_pages.shown_models import (
    CAPABILITIES,
    Installed,
    cards,
    installed_models,
)
from inference.gallery_pages.shown_operations import Going, going_on
from inference.shelves import Shelf

ITEMS, ROWS, MAX_TAGS = 12, 50, 8
INSTALLED = "installed"
SORTS: list[tuple[str, str | Promise]] = [
    ("name", _("Name")),
    ("size", _("Size")),
    ("newest", _("Newest")),
    ("license", _("Licence")),
    ("status", _("Installed first")),
]


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter as a link: pressing it again takes it off."""

    label: str | Promise
    href: str
    on: bool


@dataclass(frozen=True, slots=True)
class Fault:
    """A gallery that cannot be read, and why; `is_older`: what was read before is shown (R-04)."""

    gallery: str
    words: str
    is_older: bool


def query_of(params: QueryDict) -> Query:
    """What an address asks for; one that makes no sense asks for everything."""
    try:
        given = {key: str(value) for key, value in params.items() if key != "items"}
        return query_in({**given, "items": str(ITEMS)})
    except InvalidRequestError:
        return Query(items=ITEMS)


def listed(params: QueryDict, *, wait: bool) -> dict[str, Any]:
    """All the page shows, for its template: four queries, whatever there is.

    `wait`: galleries elsewhere are asked where they have to be; else what was fetched before is
    shown, and `is_loading` says that a look later brings more.
    """
    backends = installed_backends()
    going = going_on(backends)
    here = installed_models(going, backends)
    is_loading = not (wait or are_at_hand())
    read = shelves(offline=is_loading)
    kept = _address(params)
    shown: dict[str, Any] = {
        "going": going,
        "params": kept[1:],
        "back": f"{reverse('models-page')}{kept}",
        "is_loading": is_loading,
        "faults": [] if is_loading else faults_of(read),
        "n_galleries": len(read),
        "n_installed": len(here),
        "free_bytes": _free_bytes(),
        "sorts": SORTS,
        "show": INSTALLED if params.get("show") == INSTALLED else "",
    }
    entries = every(read)
    if shown["show"]:
        return shown | _installed(params, here, entries)
    return shown | _gallery(params, entries, here, going, backends)


def _gallery(
    params: QueryDict,
    entries: list[Found],
    here: dict[str, Installed],
    going: Going,
    backends: Collection[str],
) -> dict[str, Any]:
    query = query_of(params)
    page = search(entries, query, installed=set(here))
    paginator = Paginator(range(page.n_found), ITEMS)
    hidden = 0
    if not page.n_found and query.fits is not None:
        anyway = Query(term=query.term, tags=query.tags, backend=query.backend)
        hidden = search(entries, anyway, installed=set()).n_found
    return {
        "query": query,
        "cards": cards(page.found, here, going, backends),
        "n_found": page.n_found,
        "n_entries": len(entries),
        "n_hidden": hidden,
        "page_obj": paginator.get_page(query.page),
        "chips": _chips(params, entries, query),
        "backends": sorted({each.entry.recipe_name for each in entries}),
        "all_sizes": _address(params, fits=""),
    }


def _installed(
    params: QueryDict, here: dict[str, Installed], entries: list[Found]
) -> dict[str, Any]:
    query = query_of(params)
    found = [
        each
        for each in here.values()
        if holds(query.term, each.name, each.description, each.backend, *each.aliases)
    ]
    return {
        "query": query,
        "page_obj": (page := Paginator(found, ROWS).get_page(query.page)),
        "models": list(page.object_list),
        "n_found": len(found),
        "n_entries": len(entries),
        "chips": [Chip(_("Installed"), _address(params, show=""), on=True)],
    }


def _chips(params: QueryDict, entries: list[Found], query: Query) -> list[Chip]:
    """Size, what models can do, the most frequent tags, and the installed ones."""
    fits = _address(params, fits="" if query.fits else "true")
    chips = [Chip(_("Fits this machine"), fits, on=bool(query.fits))]
    can = {name for each in entries for name in each.entry.capabilities}
    tags = Counter(tag for each in entries for tag in each.entry.tags if tag not in CAPABILITIES)
    chosen = [tag for tag in query.tags if tag not in CAPABILITIES and tag not in tags]
    named: list[tuple[str, str | Promise]] = [
        *((name, words) for name, words in CAPABILITIES.items() if name in can),
        *((tag, tag.capitalize()) for tag, _n in tags.most_common(MAX_TAGS)),
        *((tag, tag) for tag in chosen),
    ]
    for name, words in named:
        is_on = name in query.tags
        others = [tag for tag in query.tags if tag != name]
        tag = ",".join(others if is_on else [*query.tags, name])
        chips.append(Chip(words, _address(params, tag=tag), on=is_on))
    return [*chips, Chip(_("Installed"), _address(params, show=INSTALLED), on=False)]


def _address(params: QueryDict, **changed: str) -> str:
    """The page's query with other filters, from the first page on; as it is where nothing changes."""
    found = params.copy()
    for key in ("page", "wait", "all") if changed else ("wait", "all"):
        found.pop(key, None)
    for key, value in changed.items():
        found[key] = value
        if not value:
            del found[key]
    return f"?{found.urlencode()}"


def faults_of(read: Sequence[Shelf[Any]]) -> list[Fault]:
    """What is wrong with galleries, of models as of backends, as sentences."""
    found = []
    for each in read:
        name = each.gallery.name
        words = each.fault.removeprefix(f"gallery {name}").lstrip(":, ")
        if each.fault:
            found.append(Fault(name, sentence(words), bool(each.entries)))
    return found


def _free_bytes() -> int | None:
    """On the disk that models go to."""
    folder = env().models_path.absolute()
    try:
        there = next(path for path in (folder, *folder.parents) if path.exists())
        return shutil.disk_usage(there).free
    except (OSError, StopIteration):
        return None
