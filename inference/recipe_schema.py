"""What a backend's recipe file holds (surface, R-02), and reading a file of them.

A recipe runs code by design; what is refused here is what would reach further than its own
environment and engine: pip's options, addresses instead of packages, the loader's variables.
"""

import re
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from inference.strict_entries import Address, Short, Strict, Text, Word, read_list

NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,48}[a-z0-9])?")
PLACEHOLDER = re.compile(r"\{([a-z]+)\}")
PLACEHOLDERS = frozenset({"model", "name", "socket", "port", "python", "threads", "dtype"})
OPTIONS = "{options}"
# name, extras, versions, digests: no `@ address`, no option, no path, nothing behind a space
_REQUIREMENT = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?(?:\[[A-Za-z0-9._,-]{1,100}\])?"
    r"(?:(?:[=!~<>]=|[<>])[A-Za-z0-9.*+!_-]{1,60}(?:,(?:[=!~<>]=|[<>])[A-Za-z0-9.*+!_-]{1,60}){0,5})?"
    r"(?: --hash=sha256:[0-9a-f]{64}){0,20}"
)
_ARCHIVE = (".whl", ".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".lzma", ".tbz", ".egg")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
# what would change how programs are loaded or found, or where an engine keeps its own
_NOT_VARIABLES = re.compile(
    r"(?:LD|DYLD|PYTHON|PIP|LOCALAI|DJANGO|GIT|SSL|GCONV|MALLOC|BASH)_?.*|PATH|HOME|TMPDIR|ENV|IFS"
    r"|SHELL|TERM|USER|HF_TOKEN|.*_PROXY|NODE_OPTIONS|PERL.*|RUBY.*"
)
_FLAG = re.compile(r"--?[a-zA-Z0-9][a-zA-Z0-9_-]{0,60}")
_HEALTH = re.compile(r"/[A-Za-z0-9._/-]{0,100}")
_FILE = re.compile(r"[a-z0-9][a-z0-9-]{0,60}\.txt")
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
Hardware = Literal["cpu", "nvidia", "amd", "intel"]
Serves = Literal[
    "chat-completions",
    "completions",
    "embeddings",
    "messages",
    "responses",
    "tokenize",
    "detokenize",
    "rerank",
    "images",
    "video",
    "audio-speech",
    "audio-transcriptions",
    "sound-generation",
    "vad",
    "detection",
]
Line: TypeAlias = Annotated[str, Field(max_length=2000, pattern=r"^[^\x00-\x1f\x7f]*$")]


def is_backend_name(name: str) -> bool:
    """Whether a backend may be called so; it is also the name of its folder."""
    return NAME.fullmatch(name) is not None and ".." not in name


def is_of_type(value: object, kind: str) -> bool:
    """Whether an option's value is of the type that its recipe says; a truth value is no number."""
    wanted = _TYPES[kind]
    return isinstance(value, wanted) and (bool in wanted or not isinstance(value, bool))


def _with_placeholders(text: str) -> str:
    """Raises ValueError for a brace that is none of the known placeholders."""
    for name in PLACEHOLDER.findall(text):
        if name not in PLACEHOLDERS:
            raise ValueError(f"{{{name[:40]}}} is not a placeholder")
    if set("{}") & set(PLACEHOLDER.sub("", text)):
        raise ValueError("a brace is only taken as one of " + ", ".join(sorted(PLACEHOLDERS)))
    return text


class StepFile(Strict):
    """One pip call: requirements, or a compiled file of `requirements/` (built-in recipes only)."""

    requirements: Annotated[list[str], Field(max_length=200)] = []
    requirements_file: str = ""
    no_deps: bool = False
    index: Address = ""

    @field_validator("requirements")
    @classmethod
    def _plain(cls, value: list[str]) -> list[str]:
        for each in value:
            name = re.split(r"[\[=!~<> ]", each, maxsplit=1)[0]
            if not _REQUIREMENT.fullmatch(each) or name.lower().endswith(_ARCHIVE):
                raise ValueError(
                    "wants packages such as name==1.2, with --hash=sha256:… at most behind them"
                )
        return value

    @field_validator("requirements_file")
    @classmethod
    def _one_of_ours(cls, value: str) -> str:
        if value and not _FILE.fullmatch(value):
            raise ValueError("wants the name of a file in requirements/")
        return value

    @field_validator("index")
    @classmethod
    def _is_index(cls, value: str) -> str:
        parts = urlsplit(value)
        plain = value.isascii() and value.isprintable() and not set(" \\'\"") & set(value)
        with_user = parts.username is not None or parts.password is not None
        if value and (
            parts.scheme not in {"http", "https"} or not parts.hostname or with_user or not plain
        ):
            raise ValueError("wants an https:// address without a user in it")
        return value

    @model_validator(mode="after")
    def _one_of_both(self) -> "StepFile":
        if bool(self.requirements) == bool(self.requirements_file):
            raise ValueError("wants either requirements or requirements_file")
        return self


class OptionFile(Strict):
    """One thing that a model may set."""

    type: Literal["string", "integer", "number", "boolean"]
    flag: str
    help: Short = ""
    default: Line | int | float | bool | None = None

    @field_validator("flag")
    @classmethod
    def _is_flag(cls, value: str) -> str:
        if not _FLAG.fullmatch(value):
            raise ValueError("wants a flag such as --max-model-len")
        return value

    @model_validator(mode="after")
    def _default_fits(self) -> "OptionFile":
        if self.default is not None and not is_of_type(self.default, self.type):
            raise ValueError(f"default: wants a {self.type}")
        return self


class RecipeFile(Strict):
    """One backend: how it is installed, how it is started, what it serves, on which hardware."""

    name: str
    description: Text = ""
    license: Short = ""
    icon: Address = ""
    urls: Annotated[list[Address], Field(max_length=50)] = []
    version: Annotated[str, Field(min_length=1, max_length=60)]
    tags: Annotated[list[Word], Field(max_length=50)] = []
    hardware: Annotated[list[Hardware], Field(min_length=1)]
    install: Annotated[list[StepFile], Field(min_length=1, max_length=20)]
    command: Annotated[list[Line], Field(min_length=1, max_length=100)]
    environment: Annotated[dict[str, Line], Field(max_length=50)] = {}
    options: Annotated[dict[str, OptionFile], Field(max_length=100)] = {}
    health: str = "/health"
    serves: Annotated[list[Serves], Field(min_length=1)]

    @field_validator("name")
    @classmethod
    def _usable(cls, value: str) -> str:
        if not is_backend_name(value):
            raise ValueError("wants lower-case letters, digits, '.', '_' and '-'")
        return value

    @field_validator("command")
    @classmethod
    def _starts_an_engine(cls, value: list[str]) -> list[str]:
        for word in value:
            if word != OPTIONS:
                _with_placeholders(word)
        if value[0] != "{python}":
            raise ValueError("begins with {python}, the one of its own environment")
        if not any("{socket}" in word or "{port}" in word for word in value):
            raise ValueError("wants {socket} (or {port}), where its engine is to listen")
        return value

    @field_validator("environment")
    @classmethod
    def _own_variables(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not _VARIABLE.fullmatch(name) or _NOT_VARIABLES.fullmatch(name):
                raise ValueError(f"{name[:60]} is not a variable that a recipe may set")
            _with_placeholders(text)
        return value

    @field_validator("options")
    @classmethod
    def _option_names(cls, value: dict[str, OptionFile]) -> dict[str, OptionFile]:
        for name in value:
            if not re.fullmatch(r"[a-z][a-z0-9_]{0,59}", name):
                raise ValueError(f"{name[:60]} is not a name of an option")
        return value

    @field_validator("health")
    @classmethod
    def _is_path(cls, value: str) -> str:
        if not _HEALTH.fullmatch(value) or ".." in value:
            raise ValueError("wants a path such as /health")
        return value

    def described(self) -> dict[str, Any]:
        """What the file says, without what it leaves out."""
        return self.model_dump(exclude_unset=True)


def read_recipes(text: str, *, called: str, built_in: bool = False) -> list[RecipeFile]:
    """The recipes of one file. Raises GalleryFaultError, whose text begins with `called`.

    From elsewhere, none may name files of `requirements/`: they would not be what its author pinned.
    """
    return read_list(text, called=called, of=RecipeFile if built_in else ForeignRecipe, or_one=True)


class ForeignStep(StepFile):
    """A step of a recipe from elsewhere (R-20)."""

    @field_validator("requirements_file")
    @classmethod
    def _not_ours(cls, value: str) -> str:
        if value:
            raise ValueError("is for built-in recipes only; wants requirements")
        return value


class ForeignRecipe(RecipeFile):
    """A recipe from elsewhere (R-20)."""

    install: Annotated[list[ForeignStep], Field(min_length=1, max_length=20)]  # type: ignore[assignment]
