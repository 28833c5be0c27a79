"""What upper apps know that pages of this one show: they put it in here when they start.

`MODEL_NAMES` answer with the names that callers may ask for; `QUOTA_LINES` with an account's quotas in
words, one each. Nothing is asked for until a page is rendered.
"""

from collections.abc import Callable, Iterable

ModelName = tuple[str, str]  # the name, and what it can do, in words
MODEL_NAMES: list[Callable[[], Iterable[ModelName]]] = []
QUOTA_LINES: list[Callable[[str], list[str]]] = []


def model_names() -> list[ModelName]:
    """Every model that may be allowed to somebody, by name."""
    found = dict(each for source in MODEL_NAMES for each in source())
    return sorted(found.items(), key=lambda each: each[0].lower())


def quota_lines(user_id: str) -> list[str]:
    return [line for source in QUOTA_LINES for line in source(user_id)]
