"""From a request's headers to its principal, in the exact order of contract section 2.1.

Imports no models, so that the lane may use it: whoever asks passes in `load`.
"""

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from core.generations import CHANGES, CREDENTIALS, RIGHTS, Generations, user_slot
from core.keyring import Keyring
from core.principal import LEGACY, LOCAL, Principal

Kind = Literal["session", "api-key", "oidc"]
Load = Callable[[Kind, str], Awaitable[Principal | None]]
REMEMBER_S = 60.0
MAX_CREDENTIAL_CHARS, MAX_TOKEN_CHARS = 512, 8192
KEY_PREFIX = "lai-"
_BEARER_KEY = b"Bearer lai-"


@dataclass(frozen=True, slots=True, eq=False)
class DigestedKeys:
    """Legacy keys that were set at run time: of those there is nothing but HMACs (R-21)."""

    keyring: Keyring
    digests: tuple[str, ...]

    def digest_of(self, candidate: bytes) -> bytes:
        """The digest that `candidate` has, or nothing; the time tells neither which nor how far."""
        found = b""
        if 0 < len(candidate) <= MAX_CREDENTIAL_CHARS and candidate.isascii():
            for made in self.keyring.digests(candidate.decode("ascii")):
                for known in self.digests:
                    if hmac.compare_digest(made.hex, known):
                        found = known.encode()
        return found


@dataclass(frozen=True, slots=True)
class AuthMode:
    """`accounts` is LOCALAI_AUTH; `legacy_keys` are compared whole, in constant time.

    `oidc` is on where access tokens of the provider are taken (LOCALAI_OIDC_AUDIENCE, S-27).
    `digested` are the legacy keys that came at run time.
    """

    accounts: bool
    legacy_keys: tuple[bytes, ...]
    oidc: bool = False
    digested: DigestedKeys | None = None

    @property
    def has_legacy_keys(self) -> bool:
        return bool(self.legacy_keys) or self.digested is not None

    @property
    def is_open(self) -> bool:
        """Neither accounts nor legacy keys: everybody is the one admin."""
        return not self.accounts and not self.has_legacy_keys

    def legacy_key(self, candidate: bytes) -> bytes:
        """What a legacy key is known by here: itself, or its digest; nothing where it is none."""
        if is_legacy_key(candidate, self.legacy_keys):
            return candidate
        return self.digested.digest_of(candidate) if self.digested is not None else b""

    @property
    def known_legacy_keys(self) -> list[bytes]:
        """All that `legacy_key` may answer: a session names the one that made it (S-41)."""
        digests = self.digested.digests if self.digested is not None else ()
        return [*self.legacy_keys, *(digest.encode() for digest in digests)]


def cookie_values(header: bytes | None) -> dict[str, str]:
    """The `session` and `token` cookies; the first of a name counts, odd pairs are skipped."""
    found: dict[str, str] = {}
    if header is None:
        return found
    for part in header.decode("latin-1").split(";"):
        name, equals, value = part.strip().partition("=")
        if equals and name in {"session", "token"} and name not in found:
            found[name] = value.strip('"')
    return found


def candidates(headers: dict[bytes, bytes]) -> Iterable[tuple[Kind, str]]:
    """Phase A: what may be a credential, first come first tried (A1 to A6)."""
    cookies = cookie_values(headers.get(b"cookie")) if b"cookie" in headers else {}
    if session := cookies.get("session"):
        yield "session", session
    authorization = headers.get(b"authorization")
    if authorization is not None and authorization.startswith(b"Bearer "):
        bearer = authorization[7:].decode("latin-1")
        if not bearer.startswith(KEY_PREFIX):  # which no session token does
            yield "session", bearer
        yield "api-key", bearer
        if bearer.startswith("ey"):  # as every JWT does
            yield "oidc", bearer
    for name in (b"x-api-key", b"xi-api-key"):
        if value := headers.get(name):
            yield "api-key", value.decode("latin-1")
    if token := cookies.get("token"):
        yield "api-key", token


def legacy_candidate(headers: dict[bytes, bytes]) -> bytes:
    """Phase B: the one string that is compared with the legacy keys, or nothing."""
    authorization = headers.get(b"authorization", b"")
    if authorization:
        return authorization.removeprefix(b"Bearer ")
    for name in (b"x-api-key", b"xi-api-key"):
        if value := headers.get(name):
            return value
    return cookie_values(headers.get(b"cookie")).get("token", "").encode("latin-1")


def is_legacy_key(candidate: bytes, keys: Iterable[bytes]) -> bool:
    """Compare with every key, so that the time tells neither which nor how far."""
    matched = False
    for key in keys:
        matched |= hmac.compare_digest(candidate, key)
    return matched and bool(candidate)


def could_be(kind: Kind, secret: str, sessions: Keyring) -> str | None:
    """What to look up for a secret of `kind`, or None where its form rules it out."""
    if kind == "oidc":
        fits = len(secret) <= MAX_TOKEN_CHARS and secret.count(".") == 2
        return secret if fits and secret.isascii() and secret.isprintable() else None
    if not secret or len(secret) > MAX_CREDENTIAL_CHARS or not secret.isascii():
        return None
    if kind == "session":
        return sessions.unsign(secret)
    return secret if secret.startswith(KEY_PREFIX) else None


_AsOf = tuple[int, int, int]  # the counters of rights, credentials and changes


@dataclass(frozen=True, slots=True)
class _Known:
    principal: Principal | None
    until: float
    slot: int
    generation: int
    everybody: int


class KnownPrincipals:
    """Principals this process has looked up, by the full HMAC of (kind, secret).

    Dropped when the counter of their user, or the one for all, has moved; after 60 s at the
    latest (S-39). Misses are remembered too, until any credential is made.
    """

    def __init__(
        self, load: Load, *, generations: Generations, keyring: Keyring, limit: int = 20_000
    ) -> None:
        self._load = load
        self._generations = generations
        self._keyring = keyring
        self._limit = limit
        self._known: dict[bytes, _Known] = {}
        self._under_way: dict[bytes, tuple[_AsOf, asyncio.Task[Principal | None]]] = {}

    def recall(self, kind: Kind, secret: str) -> tuple[Principal | None] | None:
        """What is remembered of a credential (perhaps that it is nobody's), or None for nothing."""
        known = self.recalled(f"{kind}\0{secret}".encode())
        return (known.principal,) if known is not None else None

    def recalled(self, credential: bytes) -> _Known | None:
        """The same for `kind`, a zero and the secret in one piece."""
        known = self._known.get(self._keyring.cache_key(credential))
        if known is None:
            return None
        read = self._generations.read
        if known.generation != read(known.slot) or known.everybody != read(RIGHTS):
            return None
        return known if time.monotonic() < known.until else None

    async def find(self, kind: Kind, secret: str) -> Principal | None:
        """The principal of a usable credential, or None, remembered. `load` runs off the loop.

        Whoever asks meanwhile waits for the same look-up, unless something changed since it began: a
        busy caller's credential would else be looked up once for each request under way.
        """
        key = self._keyring.cache_key(f"{kind}\0{secret}".encode())
        read = self._generations.read
        as_of = (read(RIGHTS), read(CREDENTIALS), read(CHANGES))
        begun = self._under_way.get(key)
        if begun is None or begun[0] != as_of:
            task = asyncio.create_task(self._look_up(key, kind, secret, as_of))
            begun = self._under_way[key] = (as_of, task)
            task.add_done_callback(partial(self._looked_up, key))
        return await asyncio.shield(begun[1])  # its first caller may hang up, the others wait on

    async def _look_up(self, key: bytes, kind: Kind, secret: str, as_of: _AsOf) -> Principal | None:
        everybody, credentials, changes = as_of
        principal = await self._load(kind, secret)
        read = self._generations.read
        if principal is None:
            slot, before = CREDENTIALS, credentials
        else:
            slot = user_slot(principal.user_id)
            before = read(slot) if read(CHANGES) == changes else -1
        known_for_s = REMEMBER_S
        if principal is not None and principal.good_until is not None:
            known_for_s = min(REMEMBER_S, principal.good_until - time.time())
        until = time.monotonic() + known_for_s
        self._remember(key, _Known(principal, until, slot, before, everybody))
        return principal

    def _looked_up(self, key: bytes, task: asyncio.Task[Principal | None]) -> None:
        begun = self._under_way.get(key)
        if begun is not None and begun[1] is task:
            del self._under_way[key]
        if not task.cancelled():
            task.exception()  # who asked is told; perhaps nobody waits any more

    def _remember(self, key: bytes, known: _Known) -> None:
        """A change during the look-up left its counter ahead of `known`: it is then never used."""
        self._known.pop(key, None)
        if len(self._known) >= self._limit:
            self._known.pop(next(iter(self._known)))
        self._known[key] = known


def lookups(
    mode: AuthMode, sessions: Keyring, headers: dict[bytes, bytes]
) -> Iterable[tuple[Kind, str]]:
    """What phase A has to look up, in order; a bad credential never blocks a good one (2.1)."""
    if mode.is_open:
        return
    for kind, secret in candidates(headers):
        if kind == "oidc" and not mode.oidc:
            continue
        if kind == "session" or mode.accounts:  # a legacy key makes sessions too (S-41)
            wanted = could_be(kind, secret, sessions)
            if wanted is not None:
                yield kind, wanted


def without_accounts(mode: AuthMode, headers: dict[bytes, bytes]) -> Principal | None:
    """The open server, and legacy keys (phase B): the part that needs no look-up."""
    if mode.is_open:
        return LOCAL
    if mode.has_legacy_keys and mode.legacy_key(legacy_candidate(headers)):
        return LEGACY
    return None


class Resolver:
    """Finds the principal of a request's headers, for the lane."""

    def __init__(
        self,
        mode: Callable[[], AuthMode],
        known: KnownPrincipals,
        sessions: Keyring,
        *,
        accounts: bool = False,
    ) -> None:
        self._mode = mode
        self._known = known
        self._sessions = sessions
        self._accounts = accounts  # which no setting changes while we run

    def recall(self, headers: dict[bytes, bytes]) -> Principal | None:
        """The principal of an API key that is remembered; None where `resolve` has to say.

        It is what most requests bring, and the first that `lookups` would give of them.
        """
        bearer = headers.get(b"authorization")
        if bearer is None or not bearer.startswith(_BEARER_KEY):
            return None
        if not self._accounts or b"cookie" in headers:
            return None
        known = self._known.recalled(b"api-key\0" + bearer[7:])
        return known.principal if known is not None else None

    async def resolve(self, headers: dict[bytes, bytes]) -> Principal | None:
        """The first credential that validates, or None."""
        mode = self._mode()
        for kind, wanted in lookups(mode, self._sessions, headers):
            remembered = self._known.recall(kind, wanted)
            principal = remembered[0] if remembered else await self._known.find(kind, wanted)
            if principal is not None:
                return principal
        return without_accounts(mode, headers)
