"""Quotas in words: how full a rule is, and what it lets somebody have."""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.runtime import env
from accounts.ui.numbers import grouped
from usage.money import amount
from usage.quotas.bars import LIMITS
from usage.quotas.service import statuses_of

WINDOWS = (
    ("1m", gettext_lazy("1 minute")),
    ("5m", gettext_lazy("5 minutes")),
    ("1h", gettext_lazy("1 hour")),
    ("6h", gettext_lazy("6 hours")),
    ("1d", gettext_lazy("1 day")),
    ("7d", gettext_lazy("7 days")),
    ("30d", gettext_lazy("30 days")),
)


def window_label(name: str) -> str:
    """`1 hour`; a window without a name as it is written (`2h0m0s`)."""
    return str(dict(WINDOWS).get(name, name))


def percent_of(status: dict[str, Any]) -> float | None:
    """How full the fullest limit of a rule is, 0 to 100; None where nobody counts now."""
    shares = []
    for _what, most, used, _over in LIMITS:
        if status[most] is None:
            continue
        if status[used] is None:
            return None
        is_full = status[used] >= status[most]
        shares.append(100.0 if is_full else 100.0 * status[used] / status[most])
    return max(shares, default=0.0)


def allowance(status: dict[str, Any]) -> str:
    """`1,000,000 tokens in 7 days (qwen3-8b)`: what a rule lets somebody have."""
    parts = [_allowed(what, status[most]) for what, most, *_ in LIMITS if status[most] is not None]
    text = _("%(what)s in %(window)s") % {
        "what": ", ".join(parts) or _("everything"),
        "window": window_label(status["window"]),
    }
    return f"{text} ({status['model']})" if status["model"] else text


def _allowed(what: str, most: int) -> str:
    if what == "requests":
        return ngettext("%(n)s request", "%(n)s requests", most) % {"n": grouped(most)}
    if what == "tokens":
        return ngettext("%(n)s token", "%(n)s tokens", most) % {"n": grouped(most)}
    if what == "cost":
        return amount(most, env().currency)
    return ngettext("%(n)s request at once", "%(n)s requests at once", most) % {"n": grouped(most)}


def lines_of(user_id: str) -> list[str]:
    """An account's rules, one line each, for its own page."""
    return [allowance(status) for status in statuses_of(user_id)]
