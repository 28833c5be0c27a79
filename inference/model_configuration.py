"""What may be configured of a model (surface, R-19): one schema, read from YAML or JSON, written as YAML."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from core.durations import parse_duration
from core.strict_yaml import Document, YamlError, read_yaml
from inference.gallery_schema import Capability, first_fault
from inference.model_folders import MAX_NAME_CHARS, is_model_name
from inference.models import Model
from inference.recipes import RecipeError, check_options, recipe_for, recipes
from inference.strict_entries import Word

MAX_CHARS = 256 * 1024
MAX_WHOLE = 2**53  # what JSON's readers agree on
MAX_IDLE_S = 2**31 - 1
READ_ONLY = ("name", "source", "checksum")
# What YAML reads back as something else is not taken; a text may have line breaks and tabs.
_TEXT = r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]*$"
_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]*$"
_ODD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*(/[A-Za-z0-9][A-Za-z0-9._:-]*)*")
OptionName = Annotated[str, Field(max_length=60, pattern=r"^[A-Za-z0-9_.-]+$")]
OptionValue = (
    Annotated[str, Field(max_length=1000, pattern=_LINE)]
    | bool
    | Annotated[int, Field(ge=-MAX_WHOLE, le=MAX_WHOLE)]
    | Annotated[float, Field(allow_inf_nan=False)]
)
HEAD = "# Written by Gatehouse. After a change: POST /models/reload (docs/operations.md).\n"


class ConfigurationFaultError(ValueError):
    """What is wrong with a configuration; `line` counts from 1, None where it came as JSON."""

    def __init__(self, message: str, *, param: str | None = None, line: int | None = None) -> None:
        super().__init__(message if line is None else f"line {line}: {message}")
        self.message = message
        self.param = param
        self.line = line


class Configuration(BaseModel):
    """A model as an admin configures it. What is left out is the default; unknown keys are refused.

    `options` are what its backend's recipe declares. `source` says where its files came from and
    `checksum` what arrived: facts, not wishes. `idle_timeout` is in seconds.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: Annotated[str, Field(max_length=MAX_NAME_CHARS)]
    description: Annotated[str, Field(max_length=500, pattern=_TEXT)] = ""
    aliases: Annotated[list[str], Field(max_length=50)] = []
    source: Annotated[str, Field(max_length=500, pattern=_LINE)] = ""
    checksum: Annotated[str, Field(max_length=64, pattern=r"^[0-9a-f]*$")] = ""
    backend: Annotated[Word, Field(max_length=50, pattern=_LINE)] = "vllm"
    options: Annotated[dict[OptionName, OptionValue], Field(max_length=50)] = {}
    capabilities: Annotated[list[Capability], Field(max_length=50)] = []
    replicas: Annotated[int, Field(ge=1, le=64)] = 1
    pinned: bool = False
    default: bool = False
    enabled: bool = True
    idle_timeout: Annotated[int, Field(ge=1, le=MAX_IDLE_S)] | None = None

    @field_validator("idle_timeout", mode="before")
    @classmethod
    def _seconds(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return max(1, round(parse_duration(value).total_seconds()))
        except ValueError:
            raise ValueError("wants seconds, or a duration such as 15m") from None

    @field_validator("name")
    @classmethod
    def _usable(cls, value: str) -> str:
        if not is_model_name(value):
            raise ValueError("wants letters, digits, '.', '_', '-' and at most one '/'")
        return value

    @field_validator("aliases")
    @classmethod
    def _other_names(cls, value: list[str]) -> list[str]:
        for alias in value:
            if len(alias) > MAX_NAME_CHARS or not _ALIAS.fullmatch(alias):
                raise ValueError("an alias has letters, digits, '.', '_', '-', ':' and '/'")
        if len(set(value)) < len(value):
            raise ValueError("one of them is there twice")
        return sorted(value)

    @field_validator("capabilities")
    @classmethod
    def _each_once(cls, value: list[Capability]) -> list[Capability]:
        return sorted(set(value))


def of_row(row: Model) -> Configuration:
    """What a model's row, with its aliases, says. Not judged anew: it is what is in force."""
    return Configuration.model_construct(
        name=row.name,
        description=row.description,
        aliases=sorted(alias.name for alias in row.aliases.all()),
        source=row.source,
        checksum=row.checksum,
        backend=row.backend,
        options=row.options,
        capabilities=sorted(row.capabilities),
        replicas=row.replicas,
        pinned=row.pinned,
        default=row.is_default,
        enabled=row.enabled,
        idle_timeout=row.idle_timeout_s,
    )


def as_data(configuration: Configuration) -> dict[str, Any]:
    """Every key, in the schema's order."""
    return {name: getattr(configuration, name) for name in Configuration.model_fields}


def as_yaml(configuration: Configuration) -> str:
    """The text of its file, which `read` takes back."""
    body = yaml.safe_dump(as_data(configuration), sort_keys=False, allow_unicode=True, width=1000)
    return HEAD + body


def read(text: str) -> Configuration:
    """A configuration from YAML. Raises ConfigurationFaultError with the line."""
    return checked_document(document_of(text))


def document_of(text: str) -> Document:
    """The mapping in a YAML text, not judged yet. Raises ConfigurationFaultError."""
    if len(text) > MAX_CHARS:
        raise ConfigurationFaultError(f"longer than {MAX_CHARS} characters")
    try:
        document = read_yaml(text)
    except YamlError as exc:
        raise ConfigurationFaultError(exc.message, line=exc.line or None) from exc
    if not isinstance(document.data, dict):
        raise ConfigurationFaultError("wants a mapping of keys to values", line=1)
    return document


def checked_document(document: Document) -> Configuration:
    return checked(document.data, document)


def checked(data: Mapping[str, Any], document: Document | None = None) -> Configuration:
    """A configuration out of plain data. Raises ConfigurationFaultError that names the key."""
    try:
        found = Configuration.model_validate(data)
    except ValidationError as exc:
        place, words = first_fault(exc)
        words = words.replace("is not a key of an entry", "is not a key of a configuration")
        if (
            place[:1] == ("options",) and len(place) > 1
        ):  # whichever of the kinds it came nearest to
            words = (
                f"options: {str(place[1])[:60]} wants a short name, and a text, number or boolean"
            )
        line = document.line_of(place) if document else None
        param = str(place[0])[:60] if place else None
        raise ConfigurationFaultError(words[:500], param=param, line=line) from exc
    try:
        check_backend(found.backend, found.options)
    except RecipeError as exc:
        line = document.line_of(("options",)) if document else None
        raise ConfigurationFaultError(f"options: {exc}", param="options", line=line) from exc
    return found


def plain_text(text: str) -> str:
    """A description from elsewhere as one that the schema takes."""
    return _ODD.sub(" ", text)[:500]


def checked_aliases(name: str, aliases: Any) -> list[str]:
    """The other names of a model that is to be installed. Raises ConfigurationFaultError."""
    try:
        return Configuration.model_validate({"name": name, "aliases": aliases}).aliases
    except ValidationError as exc:
        raise ConfigurationFaultError(first_fault(exc)[1][:500], param="aliases") from exc


def check_backend(backend: str, options: dict[str, Any]) -> None:
    """Raises RecipeError for an option that the backend does not declare.

    A backend that nobody knows here yet declares nothing: its options are judged when it starts (R-05).
    """
    recipe = recipes().get(recipe_name(backend))
    if recipe is not None:
        check_options(recipe, options)


def recipe_name(backend: str) -> str:
    """The recipe that serves `backend` on this machine; the name as it stands where none does."""
    if backend in recipes():
        return backend
    try:
        return recipe_for(backend).name
    except RecipeError:
        return backend


def described() -> dict[str, Any]:
    """The schema, and what each backend's recipe lets a model set: for a form."""
    options = {
        name: {
            key: {"type": each.type, "default": each.default, "help": each.help}
            for key, each in recipe.options.items()
        }
        for name, recipe in recipes().items()
    }
    return {
        "schema": Configuration.model_json_schema(),
        "read_only": list(READ_ONLY),
        "options": options,
    }
