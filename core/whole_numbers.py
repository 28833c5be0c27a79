"""Whole numbers as others send them."""


def whole_number(text: str, most_digits: int) -> int | None:
    """`text` as a number; None for anything else, such as `²` (a digit to Python) or ten thousand digits."""
    is_one = text.isascii() and text.isdigit() and len(text) <= most_digits
    return int(text) if is_one else None
