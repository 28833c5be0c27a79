"""The three pages about everybody, as tabs: Users, Invites, Audit trail."""

from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _


def people_tabs(current: str, *, waiting: int = 0) -> list[dict[str, Any]]:
    """`current` is the URL name of the page; `waiting` stands beside Users."""
    shown = (
        ("users-page", _("Users"), waiting),
        ("invites-page", _("Invites"), 0),
        ("audit-page", _("Audit trail"), 0),
    )
    return [
        {"label": words, "href": reverse(name), "current": name == current, "count": count}
        for name, words, count in shown
    ]
