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
_MEDIA_KEYS = {"url", "image_url", "audio_url", "video_url", "file_url", "file_data", "image"}
_NOT_PROMPT = {"model", "metadata", "stub", "user"}
BYTES_A_TOKEN = 3
MEDIA_TOKENS = 1000  # a picture or a sound, whose bytes say nothing about its tokens
FALLBACK_CONTEXT = 8192  # of an engine that does not say
MAX_DEPTH = 64


def prompt_tokens(data: dict[str, Any]) -> int:
    """An estimate from above of what the body holds: a token for every three bytes of text and every
    number, names of fields included, whatever the field; some for each piece of inline media.

    Raises InvalidRequestError for what is nested past reason.
    """
    n_bytes = sum(_bytes(value, key, 0) for key, value in data.items() if key not in _NOT_PROMPT)
    return -(-n_bytes // BYTES_A_TOKEN)


def _bytes(value: Any, key: str, depth: int) -> int:
    if isinstance(value, str):
        if key in _MEDIA_KEYS and value.startswith("data:") and ";base64," in value[:200]:
            return MEDIA_TOKENS * BYTES_A_TOKEN
        return len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
    if depth > MAX_DEPTH:
        raise InvalidRequestError("The request body is nested too deeply.")
    if isinstance(value, list):
        return sum(_bytes(each, key, depth + 1) for each in value)
    if isinstance(value, dict):
        if _is_inline_media(value):
            return MEDIA_TOKENS * BYTES_A_TOKEN
        return sum(
            (len(name) if depth else 0) + _bytes(each, name, depth + 1)
            for name, each in value.items()
        )
    return BYTES_A_TOKEN if type(value) in {int, float} and depth else 0


def _is_inline_media(value: dict[str, Any]) -> bool:
    """Base64 beside a statement of what it is: Anthropic's `source`, OpenAI's `input_audio`."""
    if value.get("type") == "base64" and isinstance(value.get("data"), str):
        return isinstance(value.get("media_type"), str)
    return set(value) == {"data", "format"} and all(isinstance(v, str) for v in value.values())


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

    Of several limits the least counts from here on, whichever the engine would have taken. Raises
    InvalidRequestError for one that is no whole number: an engine might read one into it.
    """
    data = asked.data
    if rules not in _KEYS:
        generates = rules == "embeddings"
        return Wanted(prompt_tokens(data) if generates else 0, 0)
    for key in (*_KEYS[rules], "min_tokens"):
        if type(data.get(key)) not in {int, type(None)}:
            raise InvalidRequestError(f"{key} must be a whole number", param=key)
    given = [key for key in _KEYS[rules] if data.get(key) is not None]
    most = context or FALLBACK_CONTEXT
    if given:
        least = min(data[key] for key in given)
        if least < 1:
            raise InvalidRequestError(f"{given[0]} must be at least 1", param=given[0])
        for key in given:
            data[key] = least
        most = min(most, least)
    return Wanted(prompt_tokens(data), most * answers(rules, data))


def lower(rules: str, asked: Asked, completion: int) -> None:
    """Have the engine stop after `completion` tokens over all answers, if it would not do so earlier.

    Raises InvalidRequestError where there are fewer tokens left than answers are wanted.
    """
    if rules not in _KEYS:
        return
    data = asked.data
    n_answers = answers(rules, data)
    if n_answers > max(1, completion):
        raise InvalidRequestError(
            f"{completion} tokens are left for {n_answers} answers", param="n"
        )
    each = max(1, completion // n_answers)
    for key in [key for key in _KEYS[rules] if data.get(key) is not None] or _KEYS[rules][:1]:
        if data.get(key) is None or data[key] > each:
            data[key] = each
    if (data.get("min_tokens") or 0) > each:
        data["min_tokens"] = each
