"""The links in letters: proof that whoever follows one reads the mail of an address.

Nothing is stored: a proof is signed, ends by itself, and that of a new password ends with the old
password (Django's own generator).
"""

from uuid import UUID

from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core import signing
from django.core.exceptions import ValidationError

from accounts.models import User
from core.errors import InvalidRequestError

VERIFY_S = 3 * 24 * 3600
_SALT = "gatehouse.verify-email"
MAX_PROOF_CHARS = 500


class ProofError(InvalidRequestError):
    message = "invalid or expired token"


class _ResetTokens(PasswordResetTokenGenerator):
    key_salt = "gatehouse.reset-password"


def verification_of(user: User) -> str:
    """Good for three days and this address."""
    return signing.dumps([str(user.pk), user.email], salt=_SALT)


def user_of_verification(proof: str) -> User:
    """Raises ProofError where it is not ours, is over, or the address has changed hands."""
    try:
        user_id, email = signing.loads(proof[:MAX_PROOF_CHARS], salt=_SALT, max_age=VERIFY_S)
    except (signing.BadSignature, ValueError) as exc:
        raise ProofError from exc
    user = _user(user_id)
    if user is None or user.email != email:
        raise ProofError
    return user


def reset_of(user: User) -> str:
    """Good for Django's PASSWORD_RESET_TIMEOUT, and once: a new password makes it worthless."""
    return f"{user.pk.hex}.{_ResetTokens().make_token(user)}"


def user_of_reset(proof: str) -> User:
    """Raises ProofError where it is not ours, is over or was used."""
    user_id, _, token = proof[:MAX_PROOF_CHARS].partition(".")
    user = _user(user_id)
    if user is None or not _ResetTokens().check_token(user, token):
        raise ProofError
    return user


def _user(user_id: str) -> User | None:
    try:
        return User.objects.filter(pk=UUID(user_id)).first()
    except (ValueError, ValidationError):
        return None
