"""Settings as fields of a form: each kind has a control, and a way from text and back (R-10).

What is posted is compared with what the page had, so that only what somebody changed is changed: what
another admin saved meanwhile stays.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from django.http import QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.runtime import env
from accounts.runtime_settings import kinds
from accounts.runtime_settings.catalogue import Entry
from accounts.runtime_settings.in_force import kept
from accounts.runtime_settings.registry import SettingKey
from accounts.runtime_settings.secret_keys import SecretKey
from accounts.wording import sentence
from core.whole_numbers import whole_number

Control = Literal["switch", "number", "share", "choice", "lines", "galleries", "secret", "text"]
WAS, SHOWN = "was.", "shown"
MAX_DIGITS = 18
DISABLED = "LOCALAI_DISABLE_RUNTIME_SETTINGS"
SPARE_GALLERIES = 1
_CONTROLS: tuple[tuple[Any, Control], ...] = (
    (kinds.Flag, "switch"),
    (kinds.Count, "number"),
    (kinds.Some, "number"),
    (kinds.Share, "share"),
    (kinds.RegistrationMode, "choice"),
    (kinds.Origins, "lines"),
    (kinds.Texts, "lines"),
    (kinds.Galleries, "galleries"),
)
_CHOICES: dict[str, str | Promise] = {
    "approval": _("Approval"),
    "invite": _("Invite"),
    "open": _("Open"),
}
_DURATION = _("Write a duration such as “15m” or “1h30m”.")
_NUMBER = _("Write a whole number, 0 or more.")
# What a person reads where the value does not fit, by the setting's kind.
_WRONG: tuple[tuple[Any, str | Promise], ...] = (
    (kinds.Count, _NUMBER),
    (kinds.Some, _("Write a whole number, 1 or more.")),
    (kinds.Share, _("Write a number above 0 and up to 1, such as 0.95.")),
    (kinds.Duration, _DURATION),
    (kinds.DurationOrZero, _("Write a duration such as “720h”, or 0.")),
    (kinds.Pause, _("Write a duration of at least 100ms, such as “2s”.")),
    (kinds.Budget, _("Write a share such as 80% or an amount such as 40GB.")),
    (kinds.Origins, _("Write * or origins such as https://app.example.org, one per line.")),
)


@dataclass(frozen=True)
class Field:
    """One setting of the page: what it is, what it shows, what is wrong with it."""

    key: SettingKey
    entry: Entry
    shown: Any  # as the control has it: a text, a bool, or rows of galleries
    was: str  # what the page had, to tell what was changed
    error: str | Promise = ""

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def control(self) -> Control:
        return control_of(self.key)

    @property
    def locked(self) -> str:
        """The variable that decides about it, or nothing."""
        return locked_by(self.key)

    @property
    def is_fixed(self) -> bool:
        return bool(self.locked) or self.key.read_only

    @property
    def tied_to(self) -> str:
        """The id of the text that says most of it: what is wrong, what decides, the hint."""
        if self.error or self.is_fixed:
            return f"{self.name}-e"
        return f"{self.name}-d" if self.entry.hint else ""

    @property
    def choices(self) -> list[tuple[str, str | Promise]]:
        names = get_args(self.key.kind)
        return sorted(((n, _CHOICES.get(n, n)) for n in names), key=lambda each: str(each[0]))


def control_of(key: SettingKey) -> Control:
    if isinstance(key, SecretKey):
        return "secret"
    return next((control for kind, control in _CONTROLS if key.kind is kind), "text")


def locked_by(key: SettingKey) -> str:
    return DISABLED if env().disable_runtime_settings else key.fixed_by


def field(key: SettingKey, entry: Entry) -> Field:
    """The setting as it counts now."""
    value = key.show(kept(key))
    return Field(key, entry, _as_shown(key, value), _as_text(key, value))


def posted(before: Field, form: QueryDict) -> Field:
    """The same with what was typed, for a form that comes back with errors."""
    if before.is_fixed:
        return before
    was = form.get(WAS + before.name, before.was)
    given = _given(before.key, form)
    if given is None:
        return before
    return Field(before.key, before.entry, given, was)


def is_changed(given: Field) -> bool:
    """Whether what was typed differs from what the page had; a secret, whether anything was."""
    if given.control == "secret":
        return bool(given.shown) and given.shown != given.was
    return _typed_text(given) != given.was


def value_of(given: Field) -> Any:
    """What was typed as `POST /api/settings` takes it; what cannot be one is left for the check."""
    typed = given.shown
    if given.control == "number":
        number = whole_number(typed, MAX_DIGITS)
        return typed if number is None else number
    if given.control == "share":
        try:
            return float(typed)
        except ValueError:
            return typed
    if given.control == "lines":
        lines = [line.strip() for line in typed.replace(",", "\n").splitlines() if line.strip()]
        return ",".join(lines) if given.key.kind is kinds.Origins else lines
    if given.control == "galleries":
        return [row for row in typed if row["name"] or row["url"]]
    if given.control == "secret" and typed == "-":
        return ""
    return typed


def in_words(key: SettingKey, message: str) -> str | Promise:
    """What is wrong, for a person: by the kind of the setting, else the check's own words."""
    _before, is_of_form, said = message.partition(" format: ")
    if not is_of_form:  # fixed elsewhere, or read-only: the message says it
        said = message
    for kind, words in _WRONG if is_of_form else ():
        if key.kind is kind:
            return words
    return sentence(said)


def _given(key: SettingKey, form: Mapping[str, Any]) -> Any:
    """What the form has of a setting; None where it has nothing."""
    assert isinstance(form, QueryDict)  # noqa: S101  # for the lists below
    control = control_of(key)
    if control == "switch":
        return key.name in form if key.name in form.getlist(SHOWN) else None
    if control == "galleries":
        if key.name not in form.getlist(SHOWN):
            return None
        names, urls = form.getlist(f"{key.name}.name"), form.getlist(f"{key.name}.url")
        rows = [{"name": n.strip(), "url": u.strip()} for n, u in zip(names, urls, strict=False)]
        removed = {whole_number(each, MAX_DIGITS) for each in form.getlist(f"{key.name}.remove")}
        return [row for i, row in enumerate(rows) if i not in removed]
    if key.name not in form:
        return None
    given = str(form[key.name]).replace("\0", "")
    return given if control == "secret" else given.strip()


def _as_shown(key: SettingKey, value: Any) -> Any:
    control = control_of(key)
    if control == "galleries":
        return [dict(each) for each in value]
    if control == "lines":
        return "\n".join(value.split(",") if isinstance(value, str) else value)
    if control == "secret":
        return ""
    return value if control == "switch" else str(value)


def _as_text(key: SettingKey, value: Any) -> str:
    """For the hidden field beside the control."""
    shown = value if control_of(key) == "secret" else _as_shown(key, value)
    return shown if isinstance(shown, str) else json.dumps(shown, sort_keys=True)


def _typed_text(given: Field) -> str:
    if given.control == "galleries":
        return json.dumps(value_of(given), sort_keys=True)
    if given.control == "lines":
        return str(given.shown).replace("\r\n", "\n")
    return given.shown if isinstance(given.shown, str) else json.dumps(given.shown)
