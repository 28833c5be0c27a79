"""Forms over what others change too: each carries what it showed, and saves only while that holds.

The hidden field `shown` says it: a digest where the whole is one text, else what was shown itself,
signed (`usage/people/held.py`). It is compared where nobody else can write: in the transaction, under
the lock of the row.
"""

import hashlib

from core.errors import ConflictError

FIELD = "shown"
MESSAGE = "somebody else changed this meanwhile"


class ChangedMeanwhileError(ConflictError):
    """What the form showed is not what there is now; nothing was written."""

    def __init__(self) -> None:
        super().__init__(MESSAGE)


def digest(text: str) -> str:
    """What a form that shows `text` carries."""
    return hashlib.sha256(text.encode()).hexdigest()
