"""Entries of galleries, of models as of backends: strict shapes, and faults that name their line (R-04)."""

from typing import Annotated, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.strict_yaml import YamlError, read_yaml

MAX_ENTRIES = 5000
Short: TypeAlias = Annotated[str, Field(max_length=200)]
Text: TypeAlias = Annotated[str, Field(max_length=5000)]
Word: TypeAlias = Annotated[str, Field(min_length=1, max_length=60)]
Address: TypeAlias = Annotated[str, Field(max_length=1000)]


class GalleryFaultError(ValueError):
    """One line that says which gallery, file and line, and what is wrong there (R-04)."""


class Strict(BaseModel):
    """Unknown keys and wrong types are refused; what was read does not change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


E = TypeVar("E", bound=Strict)


def read_list(text: str, *, called: str, of: type[E], or_one: bool = False) -> list[E]:
    """The entries of one file; `or_one`: a file may also be one entry without a list around it.

    Raises GalleryFaultError, whose text begins with `called`.
    """
    try:
        document = read_yaml(text)
    except YamlError as exc:
        raise GalleryFaultError(f"{called}, line {exc.line}: {exc.message}") from exc
    listed = document.data if document.data is not None else []
    is_one = or_one and isinstance(listed, dict)
    if isinstance(listed, dict) and not is_one:
        raise GalleryFaultError(f"{called}, line 1: wants a list of entries")
    entries = [listed] if is_one else listed
    if not isinstance(entries, list) or len(entries) > MAX_ENTRIES:
        raise GalleryFaultError(f"{called}, line 1: wants a list of at most {MAX_ENTRIES} entries")
    found = []
    for i, each in enumerate(entries):
        try:
            found.append(of.model_validate(each))
        except ValidationError as exc:
            place, words = first_fault(exc)
            line = document.line_of(place if is_one else (i, *place))
            raise GalleryFaultError(f"{called}, line {line}: {words}") from exc
    return found


def first_fault(exc: ValidationError) -> tuple[tuple[int | str, ...], str]:
    """Where the first fault is, and what to say of it, without the value (it may be long)."""
    error = exc.errors(include_url=False, include_input=False)[0]
    place = tuple(error["loc"])
    where = ".".join(str(part) for part in place)
    said = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        said = "is not a key of an entry"
    return place, f"{where}: {said}" if where else said
