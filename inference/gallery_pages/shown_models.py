"""Models as the page shows them: the galleries' entries as cards, the installed ones as rows."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.runtime import env
from inference.engine_requests import NOT_LOADED
from inference.gallery import Found
from inference.gallery_listing import fits, is_tight, memory_need
from inference.gallery_pages.shown_operations import Going, Shown
from inference.model_sources import HubSource, LocalSource, WheelSource, read_source
from inference.models import EngineState, Model, Operation
from inference.pictures import icon_here, pictures
from inference.recipes import recipes
from inference.said import said

Text = str | Promise
Fit = Literal["fits", "tight", "no", ""]
CAPABILITIES: dict[str, Text] = {
    "chat": _("Chat"),
    "vision": _("Vision"),
    "embeddings": _("Embeddings"),
    "transcript": _("Transcription"),
    "tts": _("Speech"),
    "sound_generation": _("Sound"),
    "image": _("Images"),
    "video": _("Video"),
    "rerank": _("Reranking"),
    "detection": _("Detection"),
    "vad": _("Speech detection"),
}
MAX_BADGES = 5


@dataclass(frozen=True, slots=True)
class State:
    """What a model is at, in a word; `message` says why where something is wrong."""

    word: Text
    tone: str = ""
    icon: str = ""
    message: Text = ""


@dataclass(frozen=True, slots=True)
class Installed:
    """An installed model. `memory` was measured; sizes are None where nobody looked."""

    key: str
    name: str
    description: str
    state: State
    backend: str
    size: int | None
    memory: int | None
    enabled: bool
    pinned: bool
    is_default: bool
    is_loaded: bool
    can_load: bool
    aliases: tuple[str, ...]
    chat_href: str
    operation: Shown | None


@dataclass(frozen=True, slots=True)
class Card:
    """An entry of a gallery; what is None is shown as Unknown (R-32)."""

    key: str
    id: str
    name: str
    maker: Text
    gallery: str
    description: str
    picture: str
    initials: str
    badges: tuple[Text, ...]
    size: int | None
    context: int | None
    memory: int | None
    license: str
    checked_on: str
    backend: str
    has_backend: bool
    fit: Fit
    operation: Shown | None
    model: Installed | None


def key_of(name: str) -> str:
    """What an element is called in the page; names hold slashes and dots."""
    return hashlib.sha256(name.encode()).hexdigest()[:12]


def installed_models(going: Going, backends: Collection[str]) -> dict[str, Installed]:
    """Every model that is here, by name: three queries. `backends` are those that are here."""
    rows = Model.objects.prefetch_related("engines", "aliases").order_by("name")
    return {row.name: _installed(row, going, backends) for row in rows}


def _installed(row: Model, going: Going, backends: Collection[str]) -> Installed:
    engine = row.engine
    has_backend = row.backend in backends
    can_chat = row.enabled and "chat" in row.capabilities
    return Installed(
        key=key_of(row.name),
        name=row.name,
        description=row.description,
        state=_state(row, has_backend=has_backend),
        backend=row.backend,
        size=row.size_bytes,
        memory=row.memory_bytes,
        enabled=row.enabled,
        pinned=row.pinned,
        is_default=row.is_default,
        is_loaded=engine is not None and engine.state not in NOT_LOADED,
        can_load=row.enabled and has_backend,
        aliases=tuple(sorted(alias.name for alias in row.aliases.all())),
        chat_href=_chat_with(row.name) if can_chat else "",
        operation=going.of(Operation.Kind.MODEL, row.name),
    )


def _state(row: Model, *, has_backend: bool) -> State:
    engine = row.engine
    if not row.enabled:
        return State(_("Disabled"), icon="power")
    if engine is None or engine.state == EngineState.STOPPED:
        if not has_backend:
            return State(_("No backend"), "bad", "circle-alert", _("Its backend is not installed."))
        return State(_("Stopped"), icon="circle")
    states = {
        EngineState.READY: State(_("Ready"), "ok", "check"),
        EngineState.STARTING: State(_("Loading"), "info", "clock", said(engine.message)),
        EngineState.WAITING: State(_("Loading"), "warn", "clock", said(engine.message)),
        EngineState.DRAINING: State(_("Stopping"), "info", "clock", said(engine.message)),
        EngineState.FAILED: State(_("Failed"), "bad", "circle-alert", said(engine.message)),
    }
    return states[EngineState(engine.state)]


def _chat_with(name: str) -> str:
    """The chat with this model; empty while there is no such page."""
    try:
        return reverse("chat-with-model", args=[name])
    except NoReverseMatch:
        return ""


def cards(
    found: list[Found], here: dict[str, Installed], going: Going, backends: Collection[str]
) -> list[Card]:
    """No query."""
    known = pictures().names()
    return [_card(each, here, going, known, backends) for each in found]


def _card(
    each: Found,
    here: dict[str, Installed],
    going: Going,
    known: set[str],
    backends: Collection[str],
) -> Card:
    entry = each.entry
    checked = entry.checked
    model = here.get(entry.name)
    return Card(
        key=key_of(each.id),
        id=each.id,
        name=entry.name,
        maker=_maker(each),
        gallery=each.gallery,
        description=entry.description,
        picture=icon_here(entry.icon, known=known, base=""),
        initials=entry.name.rpartition("/")[2][:2].upper(),
        badges=_badges(each),
        size=checked.size if checked else None,
        context=checked.context if checked else None,
        memory=model.memory if model and model.memory else memory_need(each),
        license=(checked.license if checked else None) or entry.license,
        checked_on=checked.date if checked else "",
        backend=entry.recipe_name,
        has_backend=entry.recipe_name in backends,
        fit=_fit(each),
        operation=going.of(Operation.Kind.MODEL, each.id, entry.name),
        model=model,
    )


def _fit(each: Found) -> Fit:
    known = fits(each)
    if known is None:
        return ""
    if not known:
        return "no"
    return "tight" if is_tight(each) else "fits"


def _badges(each: Found) -> tuple[Text, ...]:
    entry = each.entry
    can = [words for name, words in CAPABILITIES.items() if name in entry.capabilities]
    tags = [tag.capitalize() for tag in entry.tags if tag not in CAPABILITIES]
    return tuple([*can, *tags][:MAX_BADGES])


def _maker(each: Found) -> Text:
    """Where it comes from, in the words of its source; no whole address, whose query may be secret."""
    source = read_source(each.entry.files[0].uri)
    if isinstance(source, HubSource):
        return source.repository
    if isinstance(source, WheelSource):
        return _("from PyPI")
    if isinstance(source, LocalSource):
        return _("from a folder of this server")
    return source.url.partition("://")[2].partition("/")[0]


def options_of(backend: str) -> list[tuple[str, str, str, str]]:
    """(name, type, default, help) of what a model on this backend may set."""
    recipe = recipes().get(backend)
    if recipe is None:
        return []
    return [
        (name, each.type, "" if each.default is None else str(each.default), each.help)
        for name, each in recipe.options.items()
    ]


def is_backend_here(backend: str) -> bool:
    recipe = recipes().get(backend)
    return recipe is not None and recipe.is_installed(env().backends_path)
