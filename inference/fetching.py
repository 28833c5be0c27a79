"""This server's fetcher: the hardened one of `core`, with what the operator lets through (R-06)."""

import ipaddress
from functools import lru_cache

from accounts.runtime import env
from core.fetcher import Fetcher


def fetcher() -> Fetcher:
    return _made(tuple(env().fetch_allow))


@lru_cache(maxsize=4)
def _made(allowed: tuple[str, ...]) -> Fetcher:
    return Fetcher(allow=tuple(ipaddress.ip_network(each, strict=False) for each in allowed))
