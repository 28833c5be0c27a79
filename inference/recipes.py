"""Backend recipes: one YAML file each (surface, R-02), read and checked here."""

import hashlib
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from inference.hardware import cpu_dtype, cpu_list, hardware
from inference.recipe_schema import (
    OPTIONS,
    PLACEHOLDER,
    ForeignRecipe,
    RecipeFile,
    is_of_type,
    read_recipes,
)

FOLDER = Path(__file__).parent / "backends"
REQUIREMENTS = Path(__file__).parent.parent / "requirements"
_HOST_VARIABLES = ("PATH", "LANG", "LD_LIBRARY_PATH")


class RecipeError(Exception):
    """A recipe or an option is wrong; the text says which."""


@dataclass(frozen=True, slots=True)
class Option:
    """One thing a model may set: its type, default, command-line flag and help."""

    type: str
    flag: str
    help: str
    default: Any = None


@dataclass(frozen=True, slots=True)
class Step:
    """One pip call: a compiled file or requirements; `index` is tried where pip's own has none."""

    requirements: tuple[str, ...] = ()
    requirements_file: str = ""
    no_deps: bool = False
    index: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A program that serves models, how it is installed and how it is started."""

    name: str
    description: str
    version: str
    tags: tuple[str, ...]
    hardware: tuple[str, ...]
    install: tuple[Step, ...]
    command: tuple[str, ...]
    environment: dict[str, str]
    options: dict[str, Option]
    health: str
    digest: str
    license: str = ""
    serves: tuple[str, ...] = ()

    def folder(self, backends_path: Path) -> Path:
        """Its environment: a folder per content of the recipe, so that a change installs anew."""
        return backends_path / self.name / self.digest

    def python(self, backends_path: Path) -> Path:
        return self.folder(backends_path) / "bin" / "python"

    @property
    def wants_port(self) -> bool:
        """Whether its engine listens on a loopback port instead of a Unix socket."""
        return any("{port}" in word for word in self.command)

    def is_installed(self, backends_path: Path) -> bool:
        return (self.folder(backends_path) / "installed").exists()


def recipe_of(described: RecipeFile, *, digest: str = "") -> Recipe:
    """A recipe from its file; `digest` where it is known already."""
    return Recipe(
        name=described.name,
        description=described.description,
        license=described.license,
        version=described.version,
        tags=tuple(described.tags),
        hardware=tuple(described.hardware),
        install=tuple(
            Step(tuple(each.requirements), each.requirements_file, each.no_deps, each.index)
            for each in described.install
        ),
        command=tuple(described.command),
        environment=dict(described.environment),
        options={
            name: Option(each.type, each.flag, each.help, each.default)
            for name, each in described.options.items()
        },
        health=described.health,
        serves=tuple(described.serves),
        digest=digest or _digest(described),
    )


def _digest(described: RecipeFile) -> str:
    """Of a built-in recipe, what is installed; of another, all that it says.

    The words of a built-in one come with this program and may change without a new environment.
    """
    is_foreign = isinstance(described, ForeignRecipe)
    install = [each.model_dump(exclude_unset=True) for each in described.install]
    said = described.described() if is_foreign else [described.name, install]
    digest = hashlib.sha256(yaml.safe_dump(said).encode())
    for each in described.install:
        if each.requirements_file:
            digest.update((REQUIREMENTS / each.requirements_file).read_bytes())
    digest.update(f"{sys.version_info[:2]}".encode())
    return digest.hexdigest()[:12]


@cache
def built_in_files() -> dict[str, RecipeFile]:
    """What the built-in recipes say, by name."""
    found: list[RecipeFile] = []
    for path in sorted(FOLDER.glob("*.yaml")):
        found += read_recipes(path.read_text(), called=path.name, built_in=True)
    return {each.name: each for each in found}


@cache
def built_in() -> dict[str, Recipe]:
    """The built-in recipes by name."""
    return {name: recipe_of(each) for name, each in built_in_files().items()}


def recipes() -> dict[str, Recipe]:
    """The recipes in force by name: of installed backends, else those that the galleries offer."""
    from inference.backends_here import in_force  # it stands on this module

    return in_force()


def recipe_for(backend: str, among: dict[str, Recipe] | None = None) -> Recipe:
    """The recipe of that name for this machine, or the one with that tag that fits it best.

    Raises RecipeError where none does.
    """
    known = recipes() if among is None else among
    if (named := known.get(backend)) is not None and set(hardware()) & set(named.hardware):
        return named
    for kind in hardware():
        for recipe in known.values():
            if kind in recipe.hardware and backend in {recipe.name, *recipe.tags}:
                return recipe
    raise RecipeError(f"no backend {backend} for this machine")


def placeholders(
    recipe: Recipe,
    *,
    python: Path,
    model: Path,
    name: str,
    socket: Path,
    options: dict[str, Any],
    port: int = 0,
    threads: int = 0,
) -> dict[str, str]:
    """What a command and an environment may name (R-02); `port` is for those that want one, `threads`
    how many processors the engine computes on, 0 for all.
    """
    return {
        "python": str(python),
        "model": str(model),
        "name": name,
        "socket": str(socket),
        "port": str(port),
        **of_machine(recipe, options, threads=threads),
    }


def of_machine(recipe: Recipe, options: dict[str, Any], *, threads: int = 0) -> dict[str, str]:
    """The placeholders that do not depend on the engine."""
    return {"threads": cpu_list(threads), "dtype": _dtype(recipe, options.get("dtype", "auto"))}


def command_line(recipe: Recipe, values: dict[str, str], options: dict[str, Any]) -> list[str]:
    """The argument list that starts an engine, with what `placeholders` gives as `values`.

    Raises RecipeError for an option that the recipe does not know.
    """
    line: list[str] = []
    for word in recipe.command:
        line += _flags(recipe, options) if word == OPTIONS else [_filled(word, values)]
    return line


def _filled(word: str, values: dict[str, str]) -> str:
    """Known placeholders become their values; every other brace stays what it is."""
    return PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), word)


def _dtype(recipe: Recipe, asked: Any) -> str:
    """The number format: what the model says, else what this processor computes fast in."""
    return cpu_dtype() if asked == "auto" and "cpu" in recipe.hardware else str(asked)


def check_options(recipe: Recipe, options: dict[str, Any]) -> None:
    """Raises RecipeError for an option that the recipe does not have, or of another type."""
    _flags(recipe, options)


def _flags(recipe: Recipe, options: dict[str, Any]) -> list[str]:
    unknown = set(options) - set(recipe.options)
    if unknown:
        raise RecipeError(f"{recipe.name} has no option {', '.join(sorted(unknown))}")
    flags: list[str] = []
    for name, option in recipe.options.items():
        value = options.get(name, option.default)
        if value is None:
            continue
        if not is_of_type(value, option.type):
            raise RecipeError(f"{name} wants a {option.type}")
        if option.type == "boolean":
            flags += [option.flag] if value else []
            continue
        flags += [option.flag, _dtype(recipe, value) if name == "dtype" else str(value)]
    return flags


def concurrency(backend: str, options: dict[str, Any]) -> int:
    """How many requests an engine of that backend works on at once; 0 where no recipe says so."""
    recipe = recipes().get(backend)
    option = recipe.options.get("max_num_seqs") if recipe is not None else None
    if option is None:
        return 0
    value = options.get("max_num_seqs", option.default)
    return value if isinstance(value, int) and value > 0 else 0


def engine_environment(
    recipe: Recipe,
    host: dict[str, str],
    private: Path,
    values: dict[str, str] | None = None,
    *,
    card: int | None = None,
) -> dict[str, str]:
    """A clean environment: the recipe's, and a named few of the host's; none of our secrets.

    `values` are the placeholders of this engine; without them those of the machine. `card` is the
    number of the one graphics card that it sees, by its place on the bus.
    """
    kept = {
        name: value
        for name, value in host.items()
        if name in _HOST_VARIABLES or name.startswith("CUDA_")
    }
    filled = values if values is not None else of_machine(recipe, {})
    own = {name: _filled(value, filled) for name, value in recipe.environment.items()}
    if card is not None:
        kept |= {"CUDA_VISIBLE_DEVICES": str(card), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return {**own, **kept, "HOME": str(private / "home"), "TMPDIR": str(private / "tmp")}
