"""What the settings add to how an engine is started (surface, section 5), where its model says nothing.

They count for engines that start from then on; a running one keeps what it was started with.
"""

from typing import Any

from accounts.runtime_settings.in_force import value
from inference.engine_rows import made_for
from inference.models import Model
from inference.recipes import Recipe


def options_in_force(model: Model, recipe: Recipe) -> dict[str, Any]:
    """The model's own options, with `context_size` and `f16` where its backend has such an option.

    No engine starts with more context than its model was made for, and a processor computes halves
    slowly, so these two stop there.
    """
    options = dict(model.options)
    size = int(value("context_size"))
    if size and "max_model_len" in recipe.options and "max_model_len" not in options:
        options["max_model_len"] = min(size, made_for(model.directory) or size)
    if value("f16") and "dtype" in recipe.options and "cpu" not in recipe.hardware:
        options.setdefault("dtype", "float16")
    return options


def threads_in_force() -> int:
    """How many processors an engine computes on; 0 for all that there are."""
    return int(value("threads"))


def added_environment() -> dict[str, str]:
    """`debug` makes vLLM say what it does."""
    return {"VLLM_LOGGING_LEVEL": "DEBUG"} if value("debug") else {}
