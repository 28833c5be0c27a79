"""Backend recipes: one YAML file each (surface, R-02), read and checked here."""

import hashlib
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from inference.hardware import cpu_dtype, cpu_list, hardware

FOLDER = Path(__file__).parent / "backends"
REQUIREMENTS = Path(__file__).parent.parent / "requirements"
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
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

    def folder(self, backends_path: Path) -> Path:
        """Its environment: a folder per content of the recipe, so that a change installs anew."""
        return backends_path / self.name / self.digest

    def python(self, backends_path: Path) -> Path:
        return self.folder(backends_path) / "bin" / "python"

    def is_installed(self, backends_path: Path) -> bool:
        return (self.folder(backends_path) / "installed").exists()


def _read(path: Path) -> Recipe:
    text = path.read_text()
    data = yaml.safe_load(text)
    steps = tuple(
        Step(
            requirements=tuple(step.get("requirements", ())),
            requirements_file=step.get("requirements_file", ""),
            no_deps=bool(step.get("no_deps", False)),
            index=step.get("index", ""),
        )
        for step in data["install"]
    )
    digest = hashlib.sha256(yaml.safe_dump([data["name"], data["install"]]).encode())
    for step in steps:
        if step.requirements_file:
            digest.update((REQUIREMENTS / step.requirements_file).read_bytes())
    digest.update(f"{sys.version_info[:2]}".encode())
    return Recipe(
        name=data["name"],
        description=data["description"],
        version=str(data["version"]),
        tags=tuple(data["tags"]),
        hardware=tuple(data["hardware"]),
        install=steps,
        command=tuple(data["command"]),
        environment=dict(data["environment"]),
        options={name: Option(**option) for name, option in data["options"].items()},
        health=data["health"],
        digest=digest.hexdigest()[:12],
    )


@cache
def recipes() -> dict[str, Recipe]:
    """The built-in recipes by name."""
    found = [_read(path) for path in sorted(FOLDER.glob("*.yaml"))]
    return {recipe.name: recipe for recipe in found}


def recipe_for(backend: str) -> Recipe:
    """The recipe of that name for this machine, or the one with that tag that fits it best.

    Raises RecipeError where none does.
    """
    for kind in hardware():
        for recipe in recipes().values():
            if kind in recipe.hardware and backend in {recipe.name, *recipe.tags}:
                return recipe
    raise RecipeError(f"no backend {backend} for this machine")


def command_line(
    recipe: Recipe,
    *,
    python: Path,
    model: Path,
    name: str,
    socket: Path,
    options: dict[str, Any],
) -> list[str]:
    """The argument list that starts an engine. Raises RecipeError for an option it does not know."""
    values = {"python": str(python), "model": str(model), "name": name, "socket": str(socket)}
    line: list[str] = []
    for word in recipe.command:
        if word == "{options}":
            line += _flags(recipe, options)
        else:
            line.append(word.format(**values) if "{" in word else word)
    return line


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
        is_truth = isinstance(value, bool)  # which counts as a whole number in Python
        if not isinstance(value, _TYPES[option.type]) or is_truth != (option.type == "boolean"):
            raise RecipeError(f"{name} wants a {option.type}")
        if name == "dtype" and value == "auto" and "cpu" in recipe.hardware:
            value = cpu_dtype()
        flags += [option.flag, str(value)]
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
    *,
    card: int | None = None,
    threads: int = 0,
) -> dict[str, str]:
    """A clean environment: the recipe's, and a named few of the host's; none of our secrets.

    `card` is the number of the one graphics card that it sees, by its place on the bus; `threads`
    how many processors it computes on, 0 for all.
    """
    kept = {
        name: value
        for name, value in host.items()
        if name in _HOST_VARIABLES or name.startswith("CUDA_")
    }
    own = {
        name: value.format(threads=cpu_list(threads)) for name, value in recipe.environment.items()
    }
    if card is not None:
        kept |= {"CUDA_VISIBLE_DEVICES": str(card), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return {**kept, "HOME": str(private / "home"), "TMPDIR": str(private / "tmp"), **own}
