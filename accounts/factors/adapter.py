"""What allauth.mfa asks: how secrets are kept, and what this server is called."""

import base64
from typing import Any
from urllib.parse import urlsplit

from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import Fernet, MultiFernet

from accounts.models import User
from accounts.runtime import env, keyring

ISSUER = "Gatehouse"


def _fernet() -> MultiFernet:
    """Under every secret that still verifies; the first encrypts."""
    keys = [base64.urlsafe_b64encode(bytes.fromhex(key)) for key in keyring("factor").raw()]
    return MultiFernet([Fernet(key) for key in keys])


class MFAAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # the package has no types
    """Secrets are encrypted at rest; passkeys belong to the host of LOCALAI_BASE_URL."""

    def encrypt(self, text: str) -> str:
        return _fernet().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return _fernet().decrypt(encrypted_text.encode()).decode()

    def get_totp_issuer(self) -> str:
        return ISSUER

    def get_totp_label(self, user: User) -> str:
        return user.email

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        return {"id": urlsplit(env().public_url).hostname or "localhost", "name": ISSUER}

    def send_notification_mail(self, *_args: Any, **_kwargs: Any) -> None:
        """The audit trail says it."""
