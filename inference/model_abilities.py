"""What a model that nobody described can do, as far as its own files say so."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_CONFIG_BYTES = 1024 * 1024
_GENERATES = ("ForCausalLM", "ForConditionalGeneration")


@dataclass(frozen=True, slots=True)
class Abilities:
    """Capabilities, and the engine options that they need."""

    capabilities: frozenset[str] = frozenset()
    options: dict[str, Any] = field(default_factory=dict)


def read_config(folder: Path) -> Any:
    """A model's `config.json`. Raises OSError, ValueError for what is none, or too large."""
    path = folder / "config.json"
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise ValueError("config.json is too large")
    try:
        return json.loads(path.read_bytes())
    except RecursionError as exc:
        raise ValueError("config.json is nested too deeply") from exc


def of_folder(folder: Path) -> Abilities:
    """From `config.json` and `modules.json`; nothing where neither tells."""
    if (folder / "modules.json").exists():  # a sentence-transformers folder
        return Abilities(frozenset({"embeddings", "tokenize"}), {"runner": "pooling"})
    try:
        config = read_config(folder)
        names = [str(name) for name in config.get("architectures") or []]
    except (OSError, ValueError, AttributeError, TypeError):
        return Abilities()
    if not any(name.endswith(_GENERATES) for name in names):
        return Abilities()
    found = {"chat", "completions", "tokenize"}
    if "vision_config" in config:
        found.add("vision")
    return Abilities(frozenset(found))
