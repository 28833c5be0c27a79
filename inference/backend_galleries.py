"""The galleries of backends: the built-in recipes, or what is named in their place (R-03, R-20).

Anybody's recipe may be listed. One from elsewhere is installed only where the environment names its
address with the sha256 of what has to be there (`LOCALAI_EXTERNAL_BACKENDS`): recipes run code.
"""

import hashlib
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from accounts.runtime import env, stored_settings
from accounts.runtime_settings.in_force import value
from core.errors import ForbiddenError, InvalidRequestError
from core.fetch_addresses import FetchError
from core.gallery_list import GalleryAt
from inference.fetched_galleries import expire, fetched_text, is_at_hand
from inference.gallery import BUILT_IN_AT, BUILT_IN_NAME
from inference.recipe_schema import RecipeFile, read_recipes
from inference.recipes import Recipe, built_in, built_in_files, recipe_of
from inference.shelves import Shelf, plain_text, read_shelf, read_shelves
from inference.strict_entries import GalleryFaultError

NOT_ALLOWED = (
    "Backends from elsewhere run code on this machine. This one is installed only where "
    "LOCALAI_EXTERNAL_BACKENDS names its address and sha256."
)


@dataclass(frozen=True, slots=True)
class Offer:
    """A recipe that somebody offers: what its file says, where that is, and the file's sha256.

    `uri` is empty for the built-in ones.
    """

    described: RecipeFile
    recipe: Recipe
    uri: str = ""
    sha256: str = ""
    gallery: str = ""

    @property
    def id(self) -> str:
        return f"{self.gallery}@{self.recipe.name}" if self.gallery else self.recipe.name

    @property
    def is_allowed(self) -> bool:
        """Whether it may be installed here (R-20)."""
        return not self.uri or self.sha256 in _pins().get(_canonical(self.uri), frozenset())


def configured() -> list[GalleryAt]:
    """The galleries of backends of this server, in the order in which a bare name is looked for."""
    named = env().backend_galleries
    if named is not None:
        return named
    stored_settings().fresh()
    set_by_admins = [GalleryAt(**each) for each in value("backend_galleries")]
    return set_by_admins or [BUILT_IN_AT]


def shelves(*, offline: bool = False) -> list[Shelf[Offer]]:
    """Every gallery of backends; what cannot be read is logged and said on its shelf (R-04)."""
    return read_shelves(configured(), partial(_read, offline=offline), offline=offline)


def are_at_hand() -> bool:
    """Whether reading the galleries of backends asks no other server just now."""
    return all(is_at_hand(each.url) for each in configured() if each.url.startswith("http"))


def every(read: list[Shelf[Offer]]) -> list[Offer]:
    """All that is offered; of two with one id the first counts."""
    found: dict[str, Offer] = {}
    for shelf in read:
        for offer in shelf.entries:
            each = replace(offer, gallery=shelf.gallery.name)
            found.setdefault(each.id, each)
    return list(found.values())


def find(asked_for: str, *, offline: bool = False) -> Offer | None:
    """What `gallery@name`, or `name` in any gallery, means; None where nothing does.

    Last come the recipes that the environment lets in by their address.
    """
    for each in every(shelves(offline=offline)):
        if asked_for in {each.id, each.recipe.name}:
            return each
    for uri in env().external_backends:
        try:
            found = offers_at(uri, offline=offline)
        except (InvalidRequestError, ForbiddenError):
            continue
        for each in found:
            if asked_for == each.recipe.name:
                return each
    return None


def offers_at(uri: str, *, offline: bool = False) -> list[Offer]:
    """The recipes of one file that the environment names. Raises ForbiddenError where it does not,
    or where something else is there now; InvalidRequestError for what cannot be read.
    """
    if _canonical(uri) not in _pins():
        raise ForbiddenError(NOT_ALLOWED)
    called = "this recipe"
    try:
        if uri.startswith("file:"):
            text = plain_text(_local(uri), called)
        else:
            text, _ = fetched_text(uri, offline=offline)
        found = list(_offers(text, called, uri))
    except (GalleryFaultError, FetchError) as exc:
        raise InvalidRequestError(str(exc), param="uri") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidRequestError(
            f"{called} cannot be read ({type(exc).__name__})", param="uri"
        ) from exc
    if not found or not found[0].is_allowed:
        raise ForbiddenError(
            "What is at this address now is not what LOCALAI_EXTERNAL_BACKENDS names (sha256)."
        )
    return found


def look_again() -> list[Shelf[Offer]]:
    """Every gallery, and every recipe that the environment lets in, fetched anew where they can be."""
    for url in (*(each.url for each in configured()), *env().external_backends):
        if not url.startswith(("file:", BUILT_IN_AT.url)):
            expire(url)
    for uri in env().external_backends:
        with suppress(InvalidRequestError, ForbiddenError):
            offers_at(uri)
    return shelves()


def _read(gallery: GalleryAt, *, offline: bool) -> Shelf[Offer]:
    if gallery is BUILT_IN_AT:
        known = built_in()
        own = tuple(Offer(each, known[name]) for name, each in built_in_files().items())
        return Shelf(gallery, own)
    return read_shelf(gallery, _offers, offline=offline)


def _offers(text: str, called: str, uri: str) -> tuple[Offer, ...]:
    digest = hashlib.sha256(text.encode()).hexdigest()
    described = read_recipes(text, called=called)
    return tuple(Offer(each, recipe_of(each), uri, digest) for each in described)


def _pins() -> dict[str, frozenset[str]]:
    return {_canonical(uri): digests for uri, digests in env().external_backends.items()}


def _canonical(uri: str) -> str:
    """One spelling of an address: `file:/x` and `file:///x` are the same file."""
    try:
        return f"file://{unquote(urlsplit(uri).path)}" if uri.startswith("file:") else uri
    except ValueError:  # `file://[`: no address, and so none that is let in
        return uri


def _local(uri: str) -> Path:
    """A recipe of this machine: below the backends path or a gallery's own folder (R-07).

    Raises InvalidRequestError.
    """
    path = Path(unquote(urlsplit(uri).path))
    galleries = [Path(unquote(urlsplit(g.url).path)) for g in configured() if g.url[:5] == "file:"]
    folders = [each if each.is_dir() else each.parent for each in galleries]
    real = path.resolve()
    if not any(real.is_relative_to(each.resolve()) for each in (env().backends_path, *folders)):
        raise InvalidRequestError(
            "A recipe of this machine has to lie below the backends path.", param="uri"
        )
    return path


__all__ = ["BUILT_IN_NAME", "Offer", "configured", "every", "find", "offers_at", "shelves"]
