"""What an entry of a gallery holds (surface, R-03), and reading a file of them."""

import re
from datetime import date
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, FiniteFloat, field_validator, model_validator

from inference.model_folders import is_model_name
from inference.model_sources import HubSource, LocalSource, WheelSource, read_source
from inference.recipes import RecipeError, recipe_for
from inference.strict_entries import Address, Short, Strict, Text, Word, read_list
from inference.strict_entries import GalleryFaultError as GalleryFaultError  # noqa: PLC0414  # also theirs
from inference.strict_entries import first_fault as first_fault  # noqa: PLC0414

_SHA256 = re.compile(r"[0-9a-f]{64}")
BackendName: TypeAlias = Annotated[str, Field(min_length=1, max_length=50)]  # as the row holds it
OptionText: TypeAlias = Annotated[str, Field(max_length=1000, pattern=r"^[^\x00-\x1f]*$")]
Capability = Literal[
    "chat",
    "completions",
    "embeddings",
    "tokenize",
    "vision",
    "rerank",
    "image",
    "video",
    "tts",
    "transcript",
    "sound_generation",
    "vad",
    "detection",
]


class File(Strict):
    """One file of a model: where it comes from, how it is called here, what arrives."""

    filename: Annotated[str, Field(min_length=1, max_length=300)]
    uri: str
    sha256: str | None = None

    @field_validator("uri")
    @classmethod
    def _known(cls, value: str) -> str:
        read_source(value)
        return value

    @field_validator("filename")
    @classmethod
    def _inside(cls, value: str) -> str:
        path = PurePosixPath(value)
        if path.is_absolute() or ".." in path.parts or "\\" in value or not value.isprintable():
            raise ValueError("wants a name below the model's folder")
        return value

    @field_validator("sha256")
    @classmethod
    def _digest(cls, value: str | None) -> str | None:
        if value and not _SHA256.fullmatch(value.lower()):
            raise ValueError("wants 64 hexadecimal digits")
        return value.lower() if value else None


class Overrides(Strict):
    """What the model's row is made of, besides its files."""

    capabilities: list[Capability] = []
    options: Annotated[dict[Word, OptionText | int | FiniteFloat | bool], Field(max_length=50)] = {}
    convert: Literal["", "gguf"] = ""
    architecture: Short = ""


class Checked(Strict):
    """What was seen at the source, and when (R-32); None is unknown."""

    date: str
    size: Annotated[int, Field(ge=0)] | None = None
    context: Annotated[int, Field(ge=0)] | None = None
    license: Short | None = None


class Entry(Strict):
    """One model of a gallery, or one that somebody described in a request."""

    name: str
    description: Text = ""
    license: Short = ""
    icon: Address = ""
    urls: Annotated[list[Address], Field(max_length=50)] = []
    tags: Annotated[list[Word], Field(max_length=50)] = []
    files: Annotated[list[File], Field(min_length=1, max_length=200)]
    backend: BackendName = "vllm"
    overrides: Overrides = Overrides()
    checked: Checked | None = None
    added: str | None = None

    @field_validator("name")
    @classmethod
    def _usable(cls, value: str) -> str:
        if not is_model_name(value):
            raise ValueError("wants letters, digits, '.', '_', '-' and at most one '/'")
        return value

    @field_validator("added")
    @classmethod
    def _day(cls, value: str | None) -> str | None:
        if value is not None:
            date.fromisoformat(value)
        return value

    @model_validator(mode="after")
    def _files_fit(self) -> "Entry":
        whole = [f for f in self.files if isinstance(read_source(f.uri), HubSource | WheelSource)]
        if whole and len(self.files) > 1:
            raise ValueError("files: a repository or a package is a model's only file")
        for file in self.files:
            source = read_source(file.uri)
            if isinstance(source, WheelSource) and not file.sha256:
                raise ValueError("files: a package wants its sha256")
            if file.uri.startswith("http:") and not file.sha256:
                raise ValueError("files: a plain http address wants a sha256")
            if file.filename == "." and not isinstance(
                source, HubSource | WheelSource | LocalSource
            ):
                raise ValueError("files: a file wants a name")
        names = [file.filename for file in self.files]
        if len(set(names)) < len(names):
            raise ValueError("files: two of them have the same name")
        return self

    @property
    def recipe_name(self) -> str:
        """The backend that serves it on this machine; the name as it stands where none does (R-05)."""
        try:
            return recipe_for(self.backend).name
        except RecipeError:
            return self.backend

    @property
    def capabilities(self) -> frozenset[str]:
        return frozenset(self.overrides.capabilities)

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.overrides.options)


def read_entries(text: str, *, called: str) -> list[Entry]:
    """The entries of one file. Raises GalleryFaultError, whose text begins with `called`."""
    return read_list(text, called=called, of=Entry)
