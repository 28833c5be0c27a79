"""The sidebar, as data. A new page is one line here.

Who sees a line is what the gate's table asks of its page (`accounts/gate.py`), so that the two can
never differ. A line without a page yet (no URL of that name) is not shown: it appears by itself with
the page. `part` names what `/api/features` must say is built.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.gate import admit, is_there, requirement_for
from accounts.runtime import auth_mode
from core.built import BUILT
from core.errors import GatehouseError
from core.principal import Principal

Text = str | Promise


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the sidebar. The first of `pages` that exists is where it leads.

    `below` are more URL names that belong to it: on them it is the current line too. `counts` names
    the number of `frame.counts` that stands beside it.
    """

    label: Text
    icon: str
    pages: tuple[str, ...]
    part: str = ""
    counts: str = ""
    below: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A group of lines; the first has no heading."""

    heading: Text
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """A line as a template shows it."""

    label: Text
    icon: str
    href: str
    is_current: bool
    counts: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    heading: Text
    links: list[Link] = field(default_factory=list)


SIDEBAR: tuple[Section, ...] = (
    Section(
        "",
        (
            Line(_("Home"), "house", ("home",)),
            Line(
                _("Chat"),
                "message-square",
                ("chat-page",),
                below=("chat-conversation", "chat-with-model"),
            ),
            Line(_("Images"), "image", ("images-page",)),
            Line(_("Video"), "video", ("video-page",)),
            Line(_("TTS"), "audio-lines", ("tts-page",)),
            Line(_("Sound"), "music", ("sound-page",)),
            Line(_("Talk"), "mic", ("talk-page",)),
            Line(_("Agents"), "bot", ("agents-page",), part="agents"),
            Line(_("Skills"), "wrench", ("skills-page",), part="agents"),
            Line(_("Memory"), "book-open", ("memory-page",), part="agents"),
            Line(_("Jobs"), "list-checks", ("jobs-page",), part="mcp"),
            Line(_("Usage"), "chart-column", ("usage-page",)),
            Line(_("API"), "code-xml", ("api-page",)),
        ),
    ),
    Section(
        _("Server"),
        (
            Line(
                _("Install Models"),
                "package-plus",
                ("models-page",),
                below=(
                    "model-install-page",
                    "model-import-page",
                    "model-edit-page",
                    "model-aliases-page",
                    "model-delete-page",
                ),
            ),
            Line(
                _("Backends"),
                "layers",
                ("backends-page",),
                below=("backend-external-page", "backend-remove-page"),
            ),
            Line(_("System"), "activity", ("system",)),
            Line(_("Traces"), "route", ("traces-page",), below=("calls-page", "logs-page")),
            Line(_("Swarm"), "network", ("swarm-page",), part="distributed"),
            Line(_("Settings"), "settings", ("settings-page",)),
        ),
    ),
    Section(
        _("People"),
        (
            Line(
                _("Users"),
                "users",
                ("users-page", "admin:accounts_user_changelist"),
                counts="waiting",
                below=("invites-page", "audit-page", "providers"),
            ),
        ),
    ),
)


@cache
def _address(url_name: str) -> str | None:
    """Where a page without arguments is; None where there is none of that name."""
    try:
        return reverse(url_name)
    except NoReverseMatch:
        return None


def may_open(principal: Principal, url_name: str) -> bool:
    """Whether the gate would let this caller open the page."""
    if url_name.startswith("admin:") and not principal.has_account:
        return False  # Django's admin site knows accounts alone
    if not is_there(url_name, accounts=auth_mode().accounts, legacy_keys=True):
        return False
    try:
        admit(principal, requirement_for(url_name, "GET"))
    except GatehouseError:
        return False
    return True


def sidebar(principal: Principal | None, current: str) -> list[Group]:
    """What this caller may use and what works, in order; `current` is the URL name that was asked."""
    if principal is None or principal.duty is not None:
        return []
    shown = []
    for section in SIDEBAR:
        links = [link for line in section.lines if (link := _link(line, principal, current))]
        if links:
            shown.append(Group(section.heading, links))
    return shown


def _link(line: Line, principal: Principal, current: str) -> Link | None:
    if line.part and not BUILT.get(line.part, False):
        return None
    name = next((page for page in line.pages if _address(page) is not None), None)
    if name is None or not may_open(principal, name):
        return None
    is_current = current in (*line.pages, *line.below)
    return Link(line.label, line.icon, _address(name) or "", is_current, line.counts)


def counts_for(principal: Principal | None) -> dict[str, Any]:
    """The numbers beside lines, each asked only where its line is shown."""
    from accounts.models import Status, User

    if principal is None or not principal.is_admin:
        return {}
    return {"waiting": User.objects.filter(status=Status.PENDING).count()}
