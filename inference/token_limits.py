"""How many tokens a request may come to before anybody has counted them, and lowering that (S-52)."""

from typing import Any

from core.errors import InvalidRequestError
from inference.families.base import Asked
from usage.quotas.limiter import Wanted

# Where each family says how much may be generated; the first one is written where none is given.
_KEYS = {
    "chat": ("max_tokens", "max_completion_tokens"),
    "completions": ("max_tokens",),
    "messages": ("max_tokens",),
    "responses": ("max_output_tokens",),
}
_PROMPT_KEYS = ("messages", "prompt", "input", "instructions", "system", "tools")
BYTES_A_TOKEN = 3
MEDIA_TOKENS = 1000  # a picture or a sound, whose bytes say nothing about its tokens
FALLBACK_CONTEXT = 8192  # of an engine that does not say
MAX_DEPTH = 64


def prompt_tokens(data: dict[str, Any]) -> int:
    """An estimate from above: a token for every three bytes of text, each id of a token, some per picture."""
    n_bytes = sum(_bytes(data[key], 0) for key in _PROMPT_KEYS if key in data)
    return -(-n_bytes // BYTES_A_TOKEN)


def _bytes(value: Any, depth: int) -> int:
    if isinstance(value, str):
        if value.startswith("data:"):
            return MEDIA_TOKENS * BYTES_A_TOKEN
        return len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
    if depth > MAX_DEPTH:
        return 0
    if isinstance(value, list):
        if value and type(value[0]) is int:
            return BYTES_A_TOKEN * len(value)
        return sum(_bytes(each, depth + 1) for each in value)
    if isinstance(value, dict):
        return sum(_bytes(each, depth + 1) for each in value.values())
    return 0


def answers(rules: str, data: dict[str, Any]) -> int:
    """How many completions one request makes: choices, times the prompts of a list."""
    n = data.get("n")
    choices = n if type(n) is int and n > 1 and rules in {"chat", "completions"} else 1
    prompt = data.get("prompt")
    if (
        rules == "completions"
        and isinstance(prompt, list)
        and prompt
        and type(prompt[0]) is not int
    ):
        choices *= len(prompt)
    return choices


def wanted(rules: str, asked: Asked, context: int) -> Wanted:
    """What a request may come to. `context` is the engine's context length, 0 where it is unknown.

    Raises InvalidRequestError for a limit that is no whole number: an engine might read one into it.
    """
    data = asked.data
    if rules not in _KEYS:
        generates = rules == "embeddings"
        return Wanted(prompt_tokens(data) if generates else 0, 0)
    prompt = prompt_tokens(data)
    most = context or FALLBACK_CONTEXT
    for key in (*_KEYS[rules], "min_tokens"):
        if type(data.get(key)) not in {int, type(None)}:
            raise InvalidRequestError(f"{key} must be a whole number", param=key)
    given = [data[key] for key in _KEYS[rules] if (data.get(key) or 0) > 0]
    return Wanted(prompt, min([*given, most]) * answers(rules, data))


def lower(rules: str, asked: Asked, completion: int) -> None:
    """Have the engine stop after `completion` tokens over all answers, if it would not do so earlier."""
    if rules not in _KEYS:
        return
    data = asked.data
    each = max(1, completion // answers(rules, data))
    keys = [key for key in _KEYS[rules] if data.get(key) is not None] or _KEYS[rules][:1]
    for key in keys:
        given = data.get(key)
        if given is None or given > each:
            data[key] = each
    if (data.get("min_tokens") or 0) > each:
        data["min_tokens"] = each
