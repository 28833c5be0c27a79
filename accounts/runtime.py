"""The shared parts of `accounts`, made once per process from the settings.

Nothing here is made at import: a forked worker must open its own files.
"""

import ipaddress
import re
from datetime import timedelta
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from accounts.credentials import AuthMode, DigestedKeys
from accounts.gate import Exemptions
from accounts.legacy_keys import LegacyKeys
from core.attempts import Attempts
from core.durations import parse_duration
from core.files import secrets_from_file
from core.generations import Generations
from core.keyring import Keyring

if TYPE_CHECKING:
    from accounts.runtime_settings.held import Held
    from localai_project.env import Env  # the type alone; accounts imports no settings module


def env() -> "Env":
    """The typed settings."""
    return settings.GATEHOUSE


@cache
def secrets(data_path: Path, configured: tuple[str, ...]) -> list[str]:
    """The secrets of this server: from the environment, else the generated file."""
    return list(configured) or secrets_from_file(secrets_path(data_path))


def secrets_path(data_path: Path) -> Path:
    """Where the generated secrets are kept, one a line."""
    return data_path / "secrets" / "hmac"


@cache
def keyring(purpose: str) -> Keyring:
    """The sub-keys of one purpose: `session`, `api-key`, `invite`."""
    configured = tuple(env().auth_hmac_secret)
    return Keyring(secrets(env().data_path, configured), purpose)


@cache
def generations() -> Generations:
    return Generations(env().data_path / "state" / "generations")


@cache
def attempts() -> Attempts:
    return Attempts(env().data_path / "state" / "attempts.sqlite3")


@cache
def legacy_keys() -> LegacyKeys:
    folder = env().config_dir or env().data_path
    return LegacyKeys(env().api_key, folder / "api_keys.json")


@cache
def stored_settings() -> "Held":
    """The settings that were changed at run time, as this process knows them."""
    from django.db import DatabaseError

    from accounts.runtime_settings import held, store  # they stand on this module

    return held.Held(store.load, generations, lost=(DatabaseError,))


@lru_cache(maxsize=2)
def _auth_mode(keys: tuple[bytes, ...], digested: DigestedKeys | None) -> AuthMode:
    oidc = env().auth and bool(env().oidc_audience)
    return AuthMode(env().auth, keys, oidc=oidc, digested=digested)


def auth_mode() -> AuthMode:
    """How callers prove who they are, as of now: legacy keys may come and go while we run.

    Raises UnavailableError where the settings were never read.
    """
    return _auth_mode(legacy_keys().current(), stored_settings().known().keys)


def forget_auth_mode() -> None:
    """Make it anew from the settings; for tests, which change them."""
    legacy_keys.cache_clear()
    _auth_mode.cache_clear()


@cache
def exemptions() -> Exemptions:
    """What may be read without a credential; nothing without the setting and legacy keys."""
    if not env().disable_api_key_requirement_for_http_get or not env().api_key:
        return Exemptions()
    return Exemptions(tuple(re.compile(item) for item in env().http_get_exempted_endpoints))


@cache
def trusted_networks() -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(n, strict=False) for n in env().trusted_proxies)


def default_key_lifetime() -> timedelta | None:
    text = env().default_api_key_expiry
    return parse_duration(text) if text else None
