"""The one registry of settings: each app puts its typed keys in when it is loaded (R-21)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from accounts.runtime import env
from core.errors import InvalidRequestError

# What follows from a change: (what was given, what was in force, what then is) → further values
Consequences = Callable[[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class SettingKey:
    """One setting. `variable` is the field of the environment's settings that fixes it, if set there
    (R-08), `from_env` turns that field's value into the setting's. `read_only` ones are only shown.

    A value has up to three forms: as given in a body, as kept in the table, as shown. Here they are
    the same; for secrets they are not (`secret_keys`).
    """

    name: str
    kind: Any
    default: Any
    variable: str = ""
    from_env: Callable[[Any], Any] = field(default=lambda value: value)
    read_only: bool = False

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.kind)

    def check(self, given: Any) -> Any:
        """The value as it counts. Raises InvalidRequestError, which names the key (R-10)."""
        try:
            return self._adapter.validate_python(given)
        except ValidationError as exc:
            raise InvalidRequestError(self._complaint(exc), param=self.name) from exc

    def _complaint(self, exc: ValidationError) -> str:
        error = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        wants = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "wants")
        where = ".".join(str(part) for part in error["loc"])[:100]
        named = f"{self.name}.{where}" if where else self.name
        return f"Invalid {named} format: {wants}"

    def is_kept_form(self, kept: Any) -> bool:
        """Whether a row holds what this version understands."""
        try:
            self._adapter.validate_python(kept)
        except ValidationError:
            return False
        return True

    def keep(self, checked: Any, kept: Any) -> Any:
        """What goes into the table for a checked value; `kept` is what is there now."""
        return checked

    def show(self, kept: Any) -> Any:
        """What admins and the audit trail see."""
        return kept

    @property
    def fixed_by(self) -> str:
        """The environment variable that decides about this setting, or nothing."""
        is_set = bool(self.variable) and self.variable in env().model_fields_set
        return f"LOCALAI_{self.variable.upper()}" if is_set else ""

    @property
    def without_row(self) -> Any:
        """The value where none is stored, or where the environment decides."""
        return self.from_env(getattr(env(), self.variable)) if self.variable else self.default


_KEYS: dict[str, SettingKey] = {}
_CONSEQUENCES: list[Consequences] = []


def register(keys: Iterable[SettingKey], consequences: Consequences | None = None) -> None:
    """Add an app's keys. Raises ValueError for a name that is taken."""
    for key in keys:
        if key.name in _KEYS:
            raise ValueError(f"two settings are called {key.name}")
        _KEYS[key.name] = key
    if consequences is not None:
        _CONSEQUENCES.append(consequences)


def registered() -> Mapping[str, SettingKey]:
    """Every setting there is, by name."""
    return MappingProxyType(_KEYS)


def consequences(
    given: Mapping[str, Any], before: Mapping[str, Any], values: Mapping[str, Any]
) -> dict[str, Any]:
    """What follows for other settings where `given` is set: `before` was in force, `values` then is."""
    found: dict[str, Any] = {}
    for each in _CONSEQUENCES:
        found |= each(given, before, values)
    return found
