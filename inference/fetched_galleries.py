"""Galleries at an address: fetched at most every ten minutes, kept on disk for when it is away."""

import hashlib
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

from accounts.runtime import env
from core.fetch_addresses import FetchError
from core.fetcher import Limits
from core.strict_yaml import MAX_CHARS
from inference.fetching import fetcher

FRESH_S, AFTER_FAILURE_S = 600.0, 60.0
_LIMITS = Limits(max_bytes=MAX_CHARS, connect_s=5, read_s=10, total_s=20)
_failed: dict[str, tuple[float, str]] = {}


def fetched_text(url: str, *, offline: bool = False) -> tuple[str, str]:
    """The gallery's text, and what went wrong where it is an older one that had to do.

    Raises FetchError where there is none at all. After a failure nobody is asked for a minute.
    """
    kept = _kept(url)
    now = time.time()
    if kept is not None and (offline or now - kept[1] < FRESH_S):
        return kept[0], ""
    if offline:
        raise FetchError("It was not fetched yet.")
    failed_at, problem = _failed.get(url, (0.0, ""))
    if now - failed_at >= AFTER_FAILURE_S:
        try:
            text = fetcher().read(url, limits=_LIMITS).decode()
        except (FetchError, UnicodeDecodeError) as exc:
            problem = str(exc) if isinstance(exc, FetchError) else "It is not text."
            _failed[url] = (now, problem)
        else:
            _failed.pop(url, None)
            _keep(url, text)
            return text, ""
    if kept is not None:
        return kept[0], problem
    raise FetchError(problem)


def _path(url: str) -> Path:
    return env().data_path / "galleries" / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.yaml"


def _kept(url: str) -> tuple[str, float] | None:
    path = _path(url)
    try:
        return path.read_text(), path.stat().st_mtime
    except (OSError, UnicodeDecodeError):
        return None


def _keep(url: str, text: str) -> None:
    path = _path(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{secrets.token_hex(8)}")
    draft.write_text(text)
    draft.replace(path)


def is_at_hand(url: str) -> bool:
    """Whether a look at it asks nobody: it was fetched, or has failed, a short while ago."""
    kept, (failed_at, _) = _kept(url), _failed.get(url, (0.0, ""))
    now = time.time()
    return (kept is not None and now - kept[1] < FRESH_S) or now - failed_at < AFTER_FAILURE_S


def expire(url: str) -> None:
    """Have it fetched anew at the next look; until then, and where it is away, the old one serves."""
    _failed.pop(url, None)
    with suppress(OSError):
        os.utime(_path(url), (0, 0))
