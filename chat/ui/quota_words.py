"""What is left of the tightest quota for a model, and when one that is used up opens again."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from core.principal import Principal
from usage.quotas import service

_LEFT: dict[str, str | Promise] = {
    "1m": _("this minute"),
    "5m": _("in 5 minutes"),
    "1h": _("this hour"),
    "6h": _("in 6 hours"),
    "1d": _("today"),
    "7d": _("this week"),
    "30d": _("this month"),
}
_REACHED: dict[str, str | Promise] = {
    "1m": _("Limit per minute reached."),
    "1h": _("Hourly limit reached."),
    "1d": _("Daily limit reached."),
    "7d": _("Weekly limit reached."),
    "30d": _("Monthly limit reached."),
}
_REACHED_OF: dict[str, str | Promise] = {
    "1m": _("Limit per minute of %(model)s reached."),
    "1h": _("Hourly limit of %(model)s reached."),
    "1d": _("Daily limit of %(model)s reached."),
    "7d": _("Weekly limit of %(model)s reached."),
    "30d": _("Monthly limit of %(model)s reached."),
}
_NUMBERS = (("tokens", "total_tokens"), ("requests", "requests"))


@dataclass(frozen=True, slots=True)
class Left:
    """`left` of `most` requests or tokens in a window (`words`: "this week")."""

    kind: str
    left: int
    most: int
    words: str | Promise


@dataclass(frozen=True, slots=True)
class Reached:
    """A limit that holds the next question back: what, how much of how much, until when."""

    words: str
    kind: str
    current: int
    most: int
    opens_at: datetime | None


@dataclass(frozen=True, slots=True)
class Standing:
    """What the page says of quotas; both None where there is none."""

    left: Left | None = None
    reached: Reached | None = None


def standing(principal: Principal, model: str) -> Standing:
    """Of the rules that a question to `model` would be counted by. Admins have none (contract 4.4)."""
    if principal.is_admin or not principal.has_account:
        return Standing()
    found = [
        each
        for each in service.statuses_of(principal.user_id)
        if each["model"] in ("", model) and each["api_key_id"] in (None, principal.key_id)
    ]
    closed = [each for each in found if each["limited_by"] not in (None, "concurrent")]
    if closed:
        last = max(closed, key=lambda each: each["resets_at"] or "")
        return Standing(reached=_reached(last))
    numbers = [left for each in found for left in _left(each)]
    return Standing(left=min(numbers, key=lambda each: each.left / each.most, default=None))


def _left(status: dict[str, Any]) -> list[Left]:
    words = _LEFT.get(status["window"], _("for now"))
    made = []
    for kind, name in _NUMBERS:
        most, current = status[f"max_{name}"], status[f"current_{name}"]
        if most and current is not None:
            made.append(Left(kind, max(0, most - current), most, words))
    return made


def _reached(status: dict[str, Any]) -> Reached:
    model, window, kind = status["model"], status["window"], status["limited_by"]
    if model:
        words = str(_REACHED_OF.get(window, _("Limit of %(model)s reached."))) % {"model": model}
    else:
        words = str(_REACHED.get(window, _("Limit reached.")))
    name = {"tokens": "total_tokens", "requests": "requests"}.get(kind, "cost")
    opens_at = status["resets_at"]
    return Reached(
        words,
        kind,
        status[f"current_{name}"] or 0,
        status[f"max_{name}"] or 0,
        datetime.fromisoformat(opens_at) if opens_at else None,
    )
