"""What a password has to be (contract, E-02 and S-36), and the bound on hashing at once (S-35)."""

import os
import threading
from typing import Any

from django.contrib.auth.hashers import Argon2PasswordHasher
from zxcvbn import zxcvbn

from core.errors import InvalidRequestError

MAX_BYTES = 72
MIN_CHARS = 12
MIN_ACKNOWLEDGED_CHARS = 8
MIN_SCORE = 3
_HINTS = ["localai", "local-ai", "gatehouse", "admin"]
_TEXTS = {
    "password_empty": "Enter a password.",
    "password_too_long": f"Use at most {MAX_BYTES} bytes.",
    "password_null_byte": "This character cannot be used.",
    "password_too_short": f"Use at least {MIN_CHARS} characters.",
    "password_too_weak": "Easy to guess: use more words, or less common ones.",
}
_hashing = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))


class PasswordError(InvalidRequestError):
    """`code` is one of the contract's; `overridable` says whether an acknowledgement helps."""

    def __init__(self, code: str, *, overridable: bool) -> None:
        extra: dict[str, Any] = {"error_code": code, "overridable": overridable}
        super().__init__(_TEXTS[code], extra=extra, param="password")
        self.code = code
        self.overridable = overridable


class BoundedArgon2Hasher(Argon2PasswordHasher):
    """Argon2id at 19 MiB, t=2, p=1; only so many at once, or sign-ins could stop the server."""

    time_cost = 2
    memory_cost = 19 * 1024
    parallelism = 1

    def encode(self, password: str, salt: str) -> str:
        with _hashing:
            return super().encode(password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        with _hashing:
            return super().verify(password, encoded)


def check_password_rules(
    password: str, *, acknowledged: bool, for_admin: bool, hints: list[str] | None = None
) -> None:
    """Raise PasswordError for the first rule that `password` breaks.

    `acknowledged` skips the last two, never below 8 characters and never for an admin.
    """
    if not password:
        raise PasswordError("password_empty", overridable=False)
    if len(password.encode()) > MAX_BYTES:
        raise PasswordError("password_too_long", overridable=False)
    if "\0" in password:
        raise PasswordError("password_null_byte", overridable=False)
    may_override = not for_admin and len(password) >= MIN_ACKNOWLEDGED_CHARS
    if acknowledged and may_override:
        return
    if len(password) < MIN_CHARS:
        raise PasswordError("password_too_short", overridable=may_override)
    if zxcvbn(password, user_inputs=[*_HINTS, *(hints or ())])["score"] < MIN_SCORE:
        raise PasswordError("password_too_weak", overridable=may_override)
