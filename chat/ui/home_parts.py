"""What the home page says of models and of the machine, in words."""

from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy

from accounts.runtime import env
from accounts.ui import numbers
from chat.ui.picker import known_targets
from core.principal import Principal
from inference.engine_table import Target
from inference.hardware import cpu_dtype, has_nvidia_gpu
from inference.machine import disks, gpus, memory, processors
from inference.said import said

_ABILITIES: dict[str, str | Promise] = {
    "chat": lazy("Chat"),
    "vision": lazy("Images in questions"),
    "embeddings": lazy("Embeddings"),
    "rerank": lazy("Ranking"),
    "image": lazy("Images"),
    "video": lazy("Video"),
    "tts": lazy("Speech"),
    "transcript": lazy("Transcription"),
    "sound_generation": lazy("Sound"),
    "vad": lazy("Voice activity"),
    "detection": lazy("Detection"),
}
_SHARE_FOR_WEIGHTS = 0.5  # the rest is the cache's, the system's and what else runs


@dataclass(frozen=True, slots=True)
class ShownModel:
    """One line of "Models". `dot` is the class of its sign, `word` says the same."""

    name: str
    about: str
    state: str
    dot: str
    word: str
    message: str


def shown_models(principal: Principal) -> list[ShownModel]:
    """Those that the caller may use, as this process knows them; why one failed is for admins."""
    return [
        _shown(each, with_reason=principal.is_admin)
        for each in known_targets()
        if principal.may_use(each.name) and not each.disabled
    ]


def _shown(target: Target, *, with_reason: bool) -> ShownModel:
    dots = {"ready": "", "loading": "busy", "failed": "bad"}
    words = {"ready": _("Ready"), "loading": _("Loading"), "failed": _("Failed")}
    word = words.get(target.state, _("On first use"))
    if target.state == "loading" and target.progress:
        word = numbers.percent(target.progress)
    reason = said(target.message) if with_reason and target.state == "failed" else ""
    return ShownModel(
        name=target.name,
        about=_about(target),
        state=target.state,
        dot=dots.get(target.state, "idle"),
        word=word,
        message=reason,
    )


def _about(target: Target) -> str:
    """`Chat, 32 K context`; of a remote engine that says nothing, that it is one."""
    can = [str(label) for name, label in _ABILITIES.items() if name in target.capabilities]
    if target.context_length:
        length = numbers.compact(target.context_length)
        can.append(_("%(length)s context") % {"length": length})
    if not can and target.remote:
        return _("On another server")
    return ", ".join(can)


def machine() -> dict[str, Any]:
    """Processor, memory, cards, the disk of the models, and what fits."""
    cards, ram = gpus(), memory()
    found = disks({"models": env().models_path})
    bytes_each = 2 if has_nvidia_gpu() or cpu_dtype() == "bfloat16" else 4
    room = sum(card.total_vram for card in cards) or ram["total"]
    return {
        "cores": processors()["count"],
        "ram": ram,
        "ram_percent": ram["usage_percent"],
        "cards": cards,
        "disk": found[0] if found else None,
        "dtype": "bfloat16" if has_nvidia_gpu() else cpu_dtype(),
        "parameters": numbers.compact(_rounded(room * _SHARE_FOR_WEIGHTS / bytes_each)),
    }


def _rounded(parameters: float) -> int:
    """To one digit: it is a rule of thumb."""
    digits = len(str(int(parameters))) - 1
    return round(parameters / 10**digits) * 10**digits if parameters >= 1 else 0


def travels_in_clear_text() -> bool:
    """Whether passwords and keys cross a network without TLS, as far as this server can tell."""
    return not env().public_url.startswith("https:") and not env().binds_loopback
