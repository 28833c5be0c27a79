"""Backends as the page shows them: what is offered, and what is here though nobody offers it any more."""

from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.runtime import env
from inference import backend_galleries
from inference.backend_galleries import Offer
from inference.backends_here import Here, installed_backends
from inference.gallery_pages.listed_models import faults_of
from inference.gallery_pages.shown_models import key_of
from inference.gallery_pages.shown_operations import Shown, going_on
from inference.hardware import hardware, has_nvidia_gpu
from inference.models import Model, Operation
from inference.recipes import Recipe

Text = str | Promise
HARDWARE = {"nvidia": "NVIDIA", "amd": "AMD", "intel": "Intel", "cpu": "CPU"}
SERVES: dict[str, Text] = {
    "chat-completions": _("chat"),
    "completions": _("completions"),
    "embeddings": _("embeddings"),
    "messages": _("messages"),
    "responses": _("responses"),
    "tokenize": _("tokens"),
    "rerank": _("reranking"),
    "images": _("images"),
    "video": _("video"),
    "audio-speech": _("speech"),
    "audio-transcriptions": _("transcription"),
    "sound-generation": _("sound"),
    "vad": _("speech detection"),
    "detection": _("detection"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One backend. `version` is the one that is here, else the one offered; `available` another one."""

    key: str
    id: str
    name: str
    description: str
    origin: str
    license: str
    serves: tuple[Text, ...]
    hardware: str
    fits: bool
    allowed: bool
    installed: bool
    version: str
    available: str
    n_models: int
    operation: Shown | None
    last_log: str


def listed_backends(*, wait: bool) -> dict[str, Any]:
    """All that the page shows: three queries. `wait`: galleries elsewhere are asked where they have to be."""
    here = installed_backends()
    going = going_on(here)
    is_loading = not (wait or backend_galleries.are_at_hand())
    read = backend_galleries.shelves(offline=is_loading)
    offers = {each.recipe.name: each for each in reversed(backend_galleries.every(read))}
    models = Counter(Model.objects.values_list("backend", flat=True))
    logs = _last_operations()
    names = sorted({*offers, *here})
    rows = [
        _row(
            name,
            offers.get(name),
            here.get(name),
            operation=going.of(Operation.Kind.BACKEND, name),
            n_models=models[name],
            last_log=logs.get(name, ""),
        )
        for name in names
    ]
    return {
        "going": going,
        "rows": rows,
        "is_loading": is_loading,
        "faults": [] if is_loading else faults_of(read),
        "machine": "NVIDIA" if has_nvidia_gpu() else "CPU",
        "may_add": bool(env().external_backends),
        "n_upgrades": sum(bool(each.available) for each in rows),
    }


def _row(
    name: str,
    offer: Offer | None,
    here: Here | None,
    *,
    operation: Shown | None,
    n_models: int,
    last_log: str,
) -> Row:
    recipe = here.recipe if here is not None else _recipe(offer)
    offered = offer.recipe if offer is not None else None
    is_other = here is not None and offered is not None and offered.digest != here.recipe.digest
    uri = (here.uri if here is not None else "") or (offer.uri if offer is not None else "")
    return Row(
        key=key_of(name),
        id=offer.id if offer is not None else name,
        name=name,
        description=recipe.description,
        origin=_origin(uri),
        license=recipe.license,
        serves=tuple(SERVES[each] for each in recipe.serves if each in SERVES),
        hardware=", ".join(HARDWARE.get(each, each) for each in recipe.hardware),
        fits=bool(set(recipe.hardware) & set(hardware())),
        allowed=offer.is_allowed if offer is not None else False,
        installed=here is not None,
        version=recipe.version,
        available=offered.version if is_other and offered is not None else "",
        n_models=n_models,
        operation=operation,
        last_log=last_log,
    )


def _recipe(offer: Offer | None) -> Recipe:
    assert offer is not None  # noqa: S101  # a name is that of an offer, or of what is here
    return offer.recipe


def _origin(uri: str) -> str:
    """Where a recipe from elsewhere comes from: its host; no path of this machine, no query."""
    return urlsplit(uri).netloc.rpartition("@")[2] if uri.startswith(("https:", "http:")) else ""


def _last_operations() -> dict[str, str]:
    """The id of each backend's latest operation, for its log: one query."""
    kind = Operation.Kind.BACKEND
    rows = Operation.objects.filter(kind=kind).exclude(log_tail="").order_by("created_at")
    return {target: str(pk) for target, pk in rows.values_list("target", "pk")[:1000]}
