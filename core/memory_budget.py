"""Budgets of memory as people write them: a share such as `80%`, a size such as `12GB` or `8GiB`."""

import re

_FORM = re.compile(
    r"(?P<share>(?:[1-9]\d?(?:\.\d{1,3})?|100))%"
    r"|(?P<size>[1-9]\d{0,15}(?:\.\d{1,3})?)(?P<unit>[KMGT]i?)?B?"
)
_POWERS = {"K": 1, "M": 2, "G": 3, "T": 4}


def check_budget(text: str) -> str:
    """The same text. Raises ValueError where it is neither a budget nor empty, which is none."""
    if text and not _FORM.fullmatch(text):
        raise ValueError("wants a share such as 80%, a size such as 12GB, or nothing")
    return text


def budget_bytes(text: str, total: int) -> int | None:
    """The budget out of `total` bytes, never more than these; None where there is none."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    if found["share"]:
        return int(total * float(found["share"]) / 100)
    unit = found["unit"] or ""
    base = 1024 if unit.endswith("i") else 1000
    return min(total, int(float(found["size"]) * base ** _POWERS.get(unit[:1], 0)))


def shown_bytes(size: float) -> str:
    """A size for people: `3.2 GB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
