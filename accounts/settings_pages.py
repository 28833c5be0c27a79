"""The Settings page of admins: every registered setting, legacy keys (surface, section 5; R-08, R-21).

Changes go the way of `POST /api/settings`: the same checks, the same audit record.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST

from accounts.audit import actor_of
from accounts.pages import page
from accounts.runtime import env, stored_settings
from accounts.runtime_settings import store
from accounts.runtime_settings.catalogue import KEYS, sections
from accounts.runtime_settings.controls import (
    DISABLED,
    Field,
    field,
    in_words,
    is_changed,
    posted,
    value_of,
)
from accounts.runtime_settings.in_force import kept
from accounts.runtime_settings.registry import registered
from accounts.wording import plain_words
from core.errors import GatehouseError, InvalidRequestError

PAGE = "/app/settings"
Fields = dict[str, Field]


@page
@require_http_methods(["GET", "POST"])
def settings(request: HttpRequest) -> HttpResponse:
    """All settings, each with its control; a post changes what somebody changed on it."""
    fields = _fields()
    if request.method == "GET":
        return _answer(request, fields)
    given = {name: posted(each, request.POST) for name, each in fields.items()}
    changed = {name: each for name, each in given.items() if is_changed(each)}
    wrong = _wrong(changed)
    if not wrong and changed:
        wrong = _save(request, changed)
    if wrong:
        marked = {name: replace(given[name], error=words) for name, words in wrong.items()}
        return _answer(request, {**given, **marked}, status=422, n_wrong=len(wrong))
    n = len(changed)
    messages.success(request, ngettext("%(n)d change saved.", "%(n)d changes saved.", n) % {"n": n})
    return HttpResponseRedirect(PAGE)


@page
@require_POST
def add_key(request: HttpRequest) -> HttpResponse:
    """One legacy key more; it is never shown again."""
    secret = request.POST.get("key", "").strip()
    if not secret or secret.startswith("\u2022"):
        return _answer(request, _fields(), status=422, key_error=_("Enter a key."))
    try:
        _change_keys(request, lambda masks: [*masks, secret])
    except InvalidRequestError as exc:
        words = in_words(registered()[KEYS], exc.message)
        return _answer(request, _fields(), status=422, key_error=words)
    messages.success(request, _("The key is in force. It is not shown again."))
    return HttpResponseRedirect(f"{PAGE}#api-keys")


@page
@require_POST
def remove_key(request: HttpRequest) -> HttpResponse:
    """Revoke one that was added at run time, by its mask."""
    wanted = request.POST.get("key", "")
    try:
        _change_keys(request, lambda masks: [mask for mask in masks if mask != wanted])
        messages.success(request, _("The key is revoked."))
    except GatehouseError as exc:
        messages.error(request, " ".join(filter(None, plain_words(exc))))
    return HttpResponseRedirect(f"{PAGE}#api-keys")


def _fields() -> Fields:
    """Every setting but the keys, as it counts now, in the page's order."""
    stored_settings().fresh()
    keys = registered()
    return {
        entry.name: field(keys[entry.name], entry)
        for section in sections(keys)
        for entry in section.entries
    }


def _wrong(changed: Fields) -> dict[str, Any]:
    """What does not fit, by the setting's name: all of it, not the first alone."""
    found = {}
    for name, each in changed.items():
        try:
            each.key.check(value_of(each))
        except InvalidRequestError as exc:
            found[name] = in_words(each.key, exc.message)
    return found


def _save(request: HttpRequest, changed: Fields) -> dict[str, Any]:
    """What the store refuses all the same, by the setting's name."""
    if env().disable_runtime_settings:
        return dict.fromkeys(changed, _("Settings are fixed by %(name)s.") % {"name": DISABLED})
    try:
        store.change({name: value_of(each) for name, each in changed.items()}, by=actor_of(request))
    except InvalidRequestError as exc:
        name = exc.param if exc.param in changed else next(iter(changed))
        return {name: in_words(changed[name].key, exc.message)}
    return {}


def _change_keys(request: HttpRequest, change: Callable[[list[str]], list[str]]) -> None:
    """Legacy keys are posted as a list, in which a mask stands for its key (R-01)."""
    if env().disable_runtime_settings:
        raise InvalidRequestError(_("Settings are fixed by %(name)s.") % {"name": DISABLED})
    shown = registered()[KEYS].show(kept(registered()[KEYS]))
    store.change({KEYS: change(shown)}, by=actor_of(request))


def _answer(
    request: HttpRequest, fields: Fields, *, status: int = 200, **more: Any
) -> HttpResponse:
    keys = registered()
    at_run_time = {each["mask"] for each in kept(keys[KEYS])}
    parts = [(each, [fields[entry.name] for entry in each.entries]) for each in sections(keys)]
    shown = {
        "sections": [(each, mine, any(one.error for one in mine)) for each, mine in parts],
        "keys": [(mask, mask in at_run_time) for mask in keys[KEYS].show(kept(keys[KEYS]))],
        "disabled": DISABLED if env().disable_runtime_settings else "",
        "first_key_locks_out": not env().auth,
        **more,
    }
    return render(request, "accounts/settings.html", shown, status=status)
