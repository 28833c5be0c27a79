"""The parts of pages as template tags; built in, so no `{% load %}` is needed. `/app/components` shows all.

Parts that take plain values are `{% field id="email" label=_("Email") %}`, and what wraps content is a
block tag (`{% panel %}…{% endpanel %}`). Each has its markup in `templates/components/`.
"""

import itertools
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from django import template
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from accounts.runtime import env
from accounts.ui import moments, numbers
from core.pictures import Pictures, name_of

register = template.Library()
_WARN_FROM, _BAD_FROM = 80, 100
_menus = itertools.count(1)


@register.simple_tag
@lru_cache(maxsize=512)  # a page has dozens, and they never change while a process lives
def icon(name: str, tone: str = "") -> SafeString:
    """An icon of the sprite, hidden from screen readers: words stand beside it."""
    classes = f"i {tone}".strip()
    address = f"{static('icons.svg')}#{name}"
    return format_html(
        '<svg class="{}" aria-hidden="true"><use href="{}"/></svg>', classes, address
    )


# --- numbers and times ------------------------------------------------------------------------


def _shown(value: Any, how: Any) -> str:
    """An empty text for what is no number: a page never breaks on a missing figure."""
    return how(value) if isinstance(value, int | float) or hasattr(value, "as_tuple") else ""


@register.filter
def num(value: Any, places: int = 0) -> str:
    """`1,885,876`."""
    return _shown(value, lambda n: numbers.grouped(n, places))


@register.filter
def compact(value: Any) -> str:
    """`1.9 M`."""
    return _shown(value, numbers.compact)


@register.filter
def size(value: Any) -> str:
    """Bytes of files: `6.9 GB`."""
    return _shown(value, numbers.size)


@register.filter
def memory(value: Any) -> str:
    """Bytes of memory: `7.6 GiB`."""
    return _shown(value, numbers.memory)


@register.filter
def percent(value: Any) -> str:
    """`61 %` of a number from 0 to 100."""
    return _shown(value, numbers.percent)


@register.filter
def duration(seconds: Any) -> str:
    """`3 min 12 s`."""
    return _shown(seconds, moments.duration)


@register.simple_tag
def when(moment: datetime | None, *, exact: bool = False, missing: str = "") -> str | SafeString:
    """`<time>`: relative up to seven days, exact in its title; `exact=True` in audit, traces, logs."""
    if moment is None:
        return missing
    full = moments.exact(moment)
    shown = full if exact else moments.relative(moment)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(timespec="seconds"),
        full,
        shown,
    )


@register.simple_tag
def when_since(moment: datetime) -> str:
    """How long ago, alone: `12 days 4 h`."""
    return moments.duration((timezone.now() - moment).total_seconds())


# --- small pictures ---------------------------------------------------------------------------


@register.simple_tag
def bar(value: float, tone: str = "auto") -> SafeString:
    """A bar from 0 to 100; amber from 80, red from 100. The number stands beside it."""
    if tone == "auto":
        tone = "bad" if value >= _BAD_FROM else "warn" if value >= _WARN_FROM else ""
    width = f"{min(max(value, 0), 100):.1f}"
    return format_html(
        '<svg class="{}" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        '<rect width="{}" height="6"/></svg>',
        f"bar {tone}".strip(),
        width,
    )


@register.simple_tag
def spark(values: Sequence[float], tone: str = "") -> SafeString | str:
    """A line of the last values, from zero up; nothing for fewer than two."""
    if len(values) < 2:
        return ""
    top, steps = max(values) or 1, len(values) - 1
    points = " ".join(
        f"{i * 100 / steps:.1f},{28 - v * 26 / top:.1f}" for i, v in enumerate(values)
    )
    return format_html(
        '<svg class="{}" viewBox="0 0 100 30" preserveAspectRatio="none" aria-hidden="true">'
        '<polygon points="0,30 {} 100,30"/><polyline points="{}"/></svg>',
        f"spark {tone}".strip(),
        points,
        points,
    )


def initials(name: str) -> str:
    """The first letters of the first and last word; of an address, of what stands before the `@`."""
    words = name.partition("@")[0].replace(".", " ").split()
    return (words[0][:1] + (words[-1][:1] if len(words) > 1 else "")).upper() if words else "?"


@register.simple_tag
def avatar(name: str, url: str = "", *, big: bool = False) -> SafeString:
    """Somebody's picture where it is here (R-38), else initials. No browser is sent to another server."""
    classes = "avatar big" if big else "avatar"
    picture = name_of(url) if url.startswith(("https://", "http://")) else ""
    if picture and Pictures(env().data_path / "pictures").has(picture):
        return format_html(
            '<img class="{}" src="/pictures/{}" alt="" loading="lazy">', classes, picture
        )
    return format_html('<span class="{}" aria-hidden="true">{}</span>', classes, initials(name))


# --- parts that take plain values: `templates/components/NAME.html` says which ------------------


def _part(name: str) -> None:
    """`{% NAME a=… b=… %}`: the partial sees what it is given and nothing of the page around it."""

    def render(context: template.Context, **given: Any) -> str:
        assert context.template is not None  # noqa: S101  # a tag is rendered by one
        part = context.template.engine.get_template(f"components/{name}.html")
        return part.render(context.new(given))

    register.simple_tag(render, takes_context=True, name=name)


for _name in (
    *("button", "icon_button", "field", "select", "switch", "check", "search", "badge", "empty"),
    *("skeleton", "failed", "tabs", "seg", "pager", "sort_head", "quota", "progress", "toast"),
):
    _part(_name)


# --- what wraps content -----------------------------------------------------------------------


@register.simple_block_tag
def panel(content: str, *, title: str = "", **more: Any) -> str:
    """A section with a heading. `level`, `link` and `link_text`, `foot`, `id`, `classes`, `bare`.

    `bare=True` where the content brings its own padding: a list, a table.
    """
    return render_to_string("components/panel.html", {"content": content, "title": title, **more})


@register.simple_block_tag
def note(content: str, *, kind: str = "info", role: str = "", icon: str = "") -> str:
    """A message in the page: `info`, `ok`, `warn`, `bad`; `role="alert"` for a failure just now."""
    icons = {"ok": "circle-check", "warn": "triangle-alert", "bad": "circle-alert"}
    shown = {
        "content": content,
        "kind": kind,
        "role": role,
        "icon": icon or icons.get(kind, "info"),
    }
    return render_to_string("components/note.html", shown)


@register.simple_block_tag
def codeblock(content: str, *, label: str, id: str) -> str:  # noqa: A002
    """Code with its copy button. `label` is the language; the content is escaped where it is data."""
    trimmed = mark_safe(content.strip("\n"))  # noqa: S308  # rendered, and escaped, by the page
    shown = {"content": trimmed, "label": label, "id": id}
    return render_to_string("components/codeblock.html", shown)


@register.simple_block_tag
def dialog(content: str, *, id: str, title: str, drawer: bool = False) -> str:  # noqa: A002
    """A `<dialog>`; `<button data-dialog="ID">` opens it, `data-close` closes it.

    The content is a `<div class="body">` and a `<footer>`, or a form with both.
    """
    shown = {"content": content, "id": id, "title": title, "drawer": drawer}
    return render_to_string("components/dialog.html", shown)


@register.simple_block_tag
def menu(content: str, *, label: str, icon: str = "ellipsis") -> str:
    """An icon button with a menu of links and buttons; arrow keys move in it."""
    shown = {"content": content, "label": label, "icon": icon, "id": f"menu-{next(_menus)}"}
    return render_to_string("components/menu.html", shown)


@register.simple_block_tag
def scroll(content: str, *, label: str) -> str:
    """A table that may be wider than its panel: a region with a name, reachable by keyboard."""
    return render_to_string("components/scroll.html", {"content": content, "label": label})
