"""Galleries: what can be installed (surface, R-03). Today the built-in one."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from inference.recipes import recipe_for

BUILT_IN = Path(__file__).parent / "gallery.yaml"
_PYPI = re.compile(r"pypi:([a-z0-9-]+==[a-z0-9.]+)#([A-Za-z0-9_./-]+)")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,100}")


@dataclass(frozen=True, slots=True)
class Wheel:
    """Where a model comes from: a pinned wheel, its sha256, and the member (or folder/) inside."""

    requirement: str
    sha256: str
    member: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of a gallery."""

    name: str
    description: str
    license: str
    backend: str
    wheel: Wheel
    convert: str
    architecture: str
    capabilities: frozenset[str]
    options: dict[str, Any]


def _entry(data: dict[str, Any]) -> Entry:
    file = data["files"][0]
    found = _PYPI.fullmatch(file["uri"])
    if found is None or not _NAME.fullmatch(data["name"]):
        raise ValueError(f"gallery entry {data['name']}: not a known source")
    extra = data.get("overrides", {})
    return Entry(
        name=data["name"],
        description=data["description"],
        license=data["license"],
        backend=recipe_for(data["backend"]).name,
        wheel=Wheel(found[1], file["sha256"], found[2]),
        convert=extra.get("convert", ""),
        architecture=extra.get("architecture", ""),
        capabilities=frozenset(extra["capabilities"]),
        options=dict(extra.get("options", {})),
    )


@cache
def built_in_gallery() -> dict[str, Entry]:
    """The entries by name, in the file's order: the first is the default chat model."""
    return {entry.name: entry for entry in map(_entry, yaml.safe_load(BUILT_IN.read_text()))}
