"""What pages call the state of an engine, with its tone and icon (ui/notes.md, "States")."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from inference.models import EngineState

Told = tuple[str | Promise, str, str]
_TOLD: dict[str, Told] = {
    EngineState.READY: (_("Ready"), "ok", "check"),
    EngineState.STARTING: (_("Loading"), "info", "clock"),
    EngineState.DRAINING: (_("Stopping"), "info", "clock"),
    EngineState.WAITING: (_("Failed"), "bad", "circle-alert"),  # and starts again by itself
    EngineState.FAILED: (_("Failed"), "bad", "circle-alert"),
    EngineState.STOPPED: (_("Stopped"), "", "circle"),
}
_BUSY: Told = (_("Busy"), "info", "activity")


def told(state: str, *, is_busy: bool) -> Told:
    """(words, tone, icon) of a state; a ready engine with requests in work is busy."""
    if state == EngineState.READY and is_busy:
        return _BUSY
    return _TOLD.get(state, _TOLD[EngineState.STOPPED])
