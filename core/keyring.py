"""Digests of credentials, under keys that can be rotated (design.md, "Secrets").

The first secret signs; the others still verify. Each use has a sub-key of its own by HKDF, so a
digest made for one use is worthless for another. A digest is stored beside the id of its key.
"""

import hashlib
import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MIN_SECRET_CHARS = 32


def _subkey(secret: str, purpose: str) -> bytes:
    hkdf = HKDF(algorithm=SHA256(), length=32, salt=b"gatehouse", info=purpose.encode())
    return hkdf.derive(secret.encode())


@dataclass(frozen=True, slots=True)
class Digest:
    """`hex` is HMAC-SHA256 of the credential; `key_id` names the secret it was made with."""

    key_id: str
    hex: str


class Keyring:
    """Sub-keys for one purpose (`session`, `api-key`, `invite`, `django`) from all secrets."""

    def __init__(self, secrets: list[str], purpose: str) -> None:
        if not secrets or any(len(secret) < MIN_SECRET_CHARS for secret in secrets):
            raise ValueError(f"every secret needs at least {MIN_SECRET_CHARS} characters")
        self._keys = [
            (hashlib.sha256(_subkey(secret, "key-id")).hexdigest()[:8], _subkey(secret, purpose))
            for secret in secrets
        ]

        # with the key in it already, which is half of the work
        self._cache_hash = hashlib.blake2b(key=self._keys[0][1], digest_size=32)

    @property
    def key_ids(self) -> list[str]:
        """The public names of the secrets, the signing one first."""
        return [key_id for key_id, _ in self._keys]

    def digest(self, text: str) -> Digest:
        """The digest under the signing key."""
        key_id, key = self._keys[0]
        return Digest(key_id, hmac.digest(key, text.encode(), "sha256").hex())

    def digests(self, text: str) -> list[Digest]:
        """The digests under every key that still verifies, the signing one first."""
        data = text.encode()
        return [Digest(i, hmac.digest(key, data, "sha256").hex()) for i, key in self._keys]

    def cache_key(self, data: bytes) -> bytes:
        """A full-length keyed digest to remember something by (never a prefix: CVE-2026-35030).

        BLAKE2b's own keyed mode: as strong as HMAC here, and a fifth of its time on every request.
        """
        begun = self._cache_hash.copy()
        begun.update(data)
        return begun.digest()

    def sign(self, text: str) -> str:
        """`text.key_id.hmac`, which `unsign` takes apart again."""
        digest = self.digest(text)
        return f"{text}.{digest.key_id}.{digest.hex}"

    def unsign(self, signed: str) -> str | None:
        """The text of a value made by `sign`, or None where it was not."""
        text, _, rest = signed.partition(".")
        key_id, _, given = rest.partition(".")
        for known_id, key in self._keys:
            if known_id == key_id and given.isascii():
                wanted = hmac.digest(key, text.encode(), "sha256").hex()
                return text if hmac.compare_digest(wanted, given) else None
        return None

    def raw(self) -> list[str]:
        """The sub-keys as text, for Django's SECRET_KEY and its fallbacks."""
        return [key.hex() for _, key in self._keys]
