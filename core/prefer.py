"""`Prefer: wait=N` (RFC 7240): how long a caller would rather wait than be told to come back (R-34)."""

import re

MAX_WAIT_S = 120
_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,3})(?:$|[,;\s])")


def wait_s(prefer: str, *, default: float) -> float:
    """Seconds, MAX_WAIT_S at most; `default` where the header does not say."""
    found = _WAIT.search(prefer)
    return float(min(MAX_WAIT_S, int(found[1]))) if found else default
