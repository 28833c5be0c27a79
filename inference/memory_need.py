"""What an engine of a model takes: measured where it ran once, else estimated (R-31)."""

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from inference.hardware import cpu_dtype
from inference.model_abilities import read_config
from inference.models import Model
from inference.recipes import Recipe

GIB = 1024**3
PROCESSES = int(1.25 * GIB)  # vLLM's own, without weights and cache: measured with small models
SPACE = 1.25  # beside the weights on a card, where the recipe names no share of it
KV_GIB, CARD_SHARE = "VLLM_CPU_KVCACHE_SPACE", "gpu_memory_utilization"
_HALF = {"float16", "bfloat16"}


def needed_bytes(model: Model, recipe: Recipe, *, card_total: int | None) -> int:
    """Bytes that one more engine of the model takes: on a card of `card_total` bytes, or of RAM."""
    if model.memory_bytes is not None:
        return model.memory_bytes
    weights = folder_bytes(model.directory)
    if card_total is None:
        return int(weights * _growth(model, recipe)) + _kv_cache(recipe) + PROCESSES
    option = recipe.options.get(CARD_SHARE)
    share = model.options.get(CARD_SHARE, option.default if option is not None else None)
    if isinstance(share, int | float) and 0 < share <= 1:
        return int(card_total * share)  # vLLM takes all of it at once
    return int(weights * SPACE) + GIB


@lru_cache(maxsize=256)
def folder_bytes(directory: str) -> int:
    """The size of a model's files, once counted: an installed model's do not change."""
    total = 0
    for where, _, names in os.walk(directory):
        for name in names:
            try:
                total += (Path(where) / name).lstat().st_size
            except OSError:
                continue
    return total


def _growth(model: Model, recipe: Recipe) -> int:
    """By how much weights grow as they are loaded: halves become wholes where the processor wants so."""
    option = recipe.options.get("dtype")
    chosen = model.options.get("dtype", option.default if option is not None else None)
    loaded = cpu_dtype() if chosen == "auto" else chosen
    return 2 if loaded == "float32" and _stored_dtype(model.directory) in _HALF else 1


def _stored_dtype(directory: str) -> str:
    try:
        described: Any = read_config(Path(directory))
    except (OSError, ValueError, json.JSONDecodeError):
        return ""
    if not isinstance(described, dict):
        return ""
    return str(described.get("torch_dtype") or described.get("dtype") or "")


def _kv_cache(recipe: Recipe) -> int:
    try:
        return int(float(recipe.environment.get(KV_GIB, "0")) * GIB)
    except ValueError:
        return 0
