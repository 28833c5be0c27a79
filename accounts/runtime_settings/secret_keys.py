"""Settings that are secrets: written, never read back (R-01, R-21).

Legacy keys are kept as HMACs, which is all that comparing needs. Other secrets are sealed, as whoever
uses them needs them whole. Both are shown as masks; a mask that comes back keeps what it stands for.
"""

import base64
import secrets
from dataclasses import dataclass
from typing import Annotated, Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import AfterValidator, Field, StrictStr, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from accounts.legacy_keys import MAX_KEY_CHARS, MAX_KEYS
from accounts.runtime import keyring, legacy_keys
from accounts.runtime_settings.kinds import Text
from accounts.runtime_settings.registry import SettingKey
from core.errors import InvalidRequestError

MARK = "\u2022" * 4  # no key may hold it: keys are ASCII, as headers are
PURPOSE = "legacy-key"
_TAIL_CHARS, _LONG_KEY_CHARS = 4, 24


def mask(secret: str) -> str:
    """What stands for a secret: different for different ones, and the end of a long one to know it by."""
    tail = secret[-_TAIL_CHARS:] if len(secret) >= _LONG_KEY_CHARS else ""
    return f"{MARK}{tail}-{keyring(PURPOSE).digest(secret).hex[:12]}"


class KeptKey(TypedDict):
    """A legacy key in the table: its HMAC, the secret that made it, its mask."""

    digest: str
    key_id: str
    mask: str


class Sealed(TypedDict):
    sealed: str
    mask: str


def _key_or_mask(text: str) -> str:
    if not text.startswith(MARK) and (not text.isascii() or not text.isprintable() or " " in text):
        raise ValueError("wants keys of printable ASCII characters without spaces")
    return text


_Key = Annotated[
    StrictStr, Field(min_length=1, max_length=MAX_KEY_CHARS), AfterValidator(_key_or_mask)
]
KeyList = Annotated[list[_Key], Field(max_length=MAX_KEYS)]
_KEPT_KEYS, _SEALED = TypeAdapter(list[KeptKey]), TypeAdapter(Sealed | None)


@dataclass(frozen=True)
class ApiKeysKey(SettingKey):
    """Legacy keys. Those of the environment and of `api_keys.json` come first and stay as they are."""

    def is_kept_form(self, kept: Any) -> bool:
        return _is(_KEPT_KEYS, kept)

    def keep(self, checked: list[str], kept: list[KeptKey]) -> list[KeptKey]:
        """The run-time keys that a list means: a mask keeps its key, what is not listed goes."""
        elsewhere = set(_elsewhere())
        elsewhere |= {mask(key) for key in elsewhere}
        by_name = {name: each for each in kept for name in (each["mask"], each["digest"])}
        found: dict[str, KeptKey] = {}
        for item in checked:
            if item in elsewhere:
                continue
            each = by_name.get(item) if item.startswith(MARK) else _known_or_new(item, by_name)
            if each is None:
                raise InvalidRequestError(
                    f"Invalid {self.name} format: one of the masks stands for no key",
                    param=self.name,
                )
            found[each["digest"]] = each
        return list(found.values())

    def show(self, kept: list[KeptKey]) -> list[str]:
        return list(dict.fromkeys([*map(mask, _elsewhere()), *(each["mask"] for each in kept)]))


def _known_or_new(key: str, by_digest: dict[str, KeptKey]) -> KeptKey:
    digests = keyring(PURPOSE).digests(key)
    for digest in digests:
        if digest.hex in by_digest:
            return by_digest[digest.hex]
    return {"digest": digests[0].hex, "key_id": digests[0].key_id, "mask": mask(key)}


def _elsewhere() -> list[str]:
    """The legacy keys that are not ours to change."""
    return [key.decode() for key in legacy_keys().current()]


@dataclass(frozen=True)
class SecretKey(SettingKey):
    """One secret text; none is empty text. With `can_make`, "0" asks for a new one."""

    kind: Any = Text
    default: Any = None
    can_make: bool = False

    def is_kept_form(self, kept: Any) -> bool:
        return _is(_SEALED, kept)

    def keep(self, checked: str, kept: Sealed | None) -> Sealed | None:
        if not checked or (kept is not None and checked == kept["mask"]):
            return kept if checked else None
        if checked.startswith(MARK):
            raise InvalidRequestError(
                f"Invalid {self.name} format: this mask stands for nothing", param=self.name
            )
        text = secrets.token_hex(32) if self.can_make and checked == "0" else checked
        if kept is not None and unseal(kept) == text:
            return kept
        return {"sealed": _box().encrypt(text.encode()).decode(), "mask": mask(text)}

    def show(self, kept: Sealed | None) -> str:
        return kept["mask"] if kept else ""


def unseal(kept: Sealed) -> str | None:
    """The secret, for whoever needs it; None where the secret it was sealed with was retired."""
    try:
        return _box().decrypt(kept["sealed"].encode()).decode()
    except InvalidToken:
        return None


def _box() -> MultiFernet:
    keys = keyring("sealed-settings").raw()
    return MultiFernet([Fernet(base64.urlsafe_b64encode(bytes.fromhex(key))) for key in keys])


def _is(adapter: TypeAdapter[Any], kept: Any) -> bool:
    try:
        adapter.validate_python(kept)
    except ValidationError:
        return False
    return True
