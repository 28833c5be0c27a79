"""Somebody's factors: what they have, adding and removing one, and checking what they show."""

from typing import Any

from allauth.core.internal.cryptokit import compare_user_code
from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal import auth as totp
from allauth.mfa.webauthn.internal import auth as webauthn
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts.audit import Actor, record
from accounts.changes import change_of_rights
from accounts.models import TotpCounter, User
from accounts.people import subject
from accounts.runtime import env
from core.errors import ConflictError, InvalidRequestError, NotFoundError

Type = Authenticator.Type
NAMES = {Type.TOTP: "totp", Type.RECOVERY_CODES: "recovery_codes", Type.WEBAUTHN: "passkey"}
MAX_PASSKEYS, MAX_NAME_CHARS = 20, 100


class WrongCodeError(InvalidRequestError):
    status = 401
    reason = "unauthenticated"
    message = "invalid code"


def is_required_of(user: User) -> bool:
    """Whether LOCALAI_REQUIRE_MFA asks this account for a factor."""
    rule = env().require_mfa
    return rule == "all" or (rule == "admins" and user.role == "admin")


def methods_of(user: User) -> list[str]:
    """What `user` may show as a second factor; empty without one (recovery codes alone are none)."""
    types = set(Authenticator.objects.filter(user=user).values_list("type", flat=True))
    if not types - {Type.RECOVERY_CODES}:
        return []
    return [name for kind, name in NAMES.items() if kind in types]


def show(user: User) -> dict[str, Any]:
    """What `user` has, without any secret."""
    rows = list(Authenticator.objects.filter(user=user).order_by("created_at"))
    codes = next((row for row in rows if row.type == Type.RECOVERY_CODES), None)
    return {
        "totp": any(row.type == Type.TOTP for row in rows),
        "recovery_codes_left": len(codes.wrap().get_unused_codes()) if codes else 0,
        "passkeys": [
            {
                "id": row.pk,
                "name": row.wrap().name,
                "created_at": row.created_at,
                "last_used_at": row.last_used_at,
            }
            for row in rows
            if row.type == Type.WEBAUTHN
        ],
    }


def add_totp(user: User, secret: str, code: str, *, by: Actor) -> list[str]:
    """Start asking for codes of `secret`, once `code` shows that it arrived; the recovery codes.

    That very code is used up by it. Raises WrongCodeError, ConflictError.
    """
    if Authenticator.objects.filter(user=user, type=Type.TOTP).exists():
        raise ConflictError("one-time codes are set up already")
    counter = _counter_of(secret, code)
    if counter is None:
        raise WrongCodeError
    with change_of_rights(user.pk):
        made = totp.TOTP.activate(user, secret).instance
        TotpCounter.objects.create(authenticator=made, counter=counter)
        record("factor_added", by, subject(user), after={"type": "totp"})
        return new_recovery_codes(user, by=by)


def new_recovery_codes(user: User, *, by: Actor) -> list[str]:
    """A fresh set; those of before are worthless."""
    record("factor_added", by, subject(user), after={"type": "recovery_codes"})
    Authenticator.objects.filter(user=user, type=Type.RECOVERY_CODES).delete()
    codes: list[str] = RecoveryCodes.activate(user).get_unused_codes()
    return codes


def add_passkey(user: User, name: str, credential: dict[str, Any], *, by: Actor) -> list[str]:
    """Keep the passkey a browser has just made; recovery codes where it is the first factor.

    Raises WrongCodeError for an answer to another question, InvalidRequestError for too many.
    """
    if Authenticator.objects.filter(user=user, type=Type.WEBAUTHN).count() >= MAX_PASSKEYS:
        raise InvalidRequestError(f"an account holds at most {MAX_PASSKEYS} passkeys")
    try:
        webauthn.parse_registration_response(credential)
        webauthn.complete_registration(credential)
    except (ValidationError, ValueError, TypeError, KeyError) as exc:
        raise WrongCodeError from exc
    first = not methods_of(user)
    with change_of_rights(user.pk):
        webauthn.WebAuthn.add(user, name[:MAX_NAME_CHARS] or "Passkey", credential)
        record("factor_added", by, subject(user), after={"type": "passkey"})
        return new_recovery_codes(user, by=by) if first else []


def remove(user: User, kind: str, *, by: Actor, passkey_id: int | None = None) -> None:
    """Take a factor away; recovery codes go with the last one. Raises NotFoundError."""
    wanted = {"totp": Type.TOTP, "passkey": Type.WEBAUTHN}[kind]
    rows = Authenticator.objects.filter(user=user, type=wanted)
    if passkey_id is not None:
        rows = rows.filter(pk=passkey_id)
    with change_of_rights(user.pk):
        if not rows.delete()[0]:
            raise NotFoundError("there is no such factor")
        if not methods_of(user):
            Authenticator.objects.filter(user=user).delete()
        record("factor_removed", by, subject(user), before={"type": kind})


def remove_all(user: User, *, by: Actor) -> None:
    """For whoever lost theirs, on an operator's word."""
    with change_of_rights(user.pk):
        Authenticator.objects.filter(user=user).delete()
        record("factor_removed", by, subject(user), before={"type": "all"})


def check_code(user: User, code: str) -> str:
    """The kind of factor that `code` is good for, which uses it up. Raises WrongCodeError."""
    rows = {row.type: row for row in Authenticator.objects.filter(user=user)}
    if (one := rows.get(Type.TOTP)) is not None and _use_totp(one, code):
        one.record_usage()
        return "totp"
    spare = rows.get(Type.RECOVERY_CODES)
    if spare is not None and methods_of(user) and spare.wrap().validate_code(code):
        spare.record_usage()
        return "recovery_codes"
    raise WrongCodeError


def check_passkey(user: User, response: dict[str, Any]) -> str:
    """As `check_code`, for a browser's answer to the question put to it."""
    try:
        webauthn.parse_authentication_response(response)
        found = webauthn.complete_authentication(user, response)
    except (ValidationError, ValueError, TypeError, KeyError) as exc:
        raise WrongCodeError from exc
    found.record_usage()
    return "passkey"


def _counter_of(secret: str, code: str) -> int | None:
    """The time step of `code`, within one before and after now."""
    for counter in totp.yield_hotp_counters_from_time():
        expected = totp.format_hotp_value(totp.hotp_value(secret, counter))
        if compare_user_code(actual=code, expected=expected):
            return int(counter)
    return None


@transaction.atomic
def _use_totp(one: Authenticator, code: str) -> bool:
    """Accept a code once: the step has to be later than any accepted before, also in a race (S-34)."""
    counter = _counter_of(get_adapter().decrypt(one.data["secret"]), code)
    if counter is None:
        return False
    TotpCounter.objects.get_or_create(authenticator=one)
    moved = TotpCounter.objects.filter(authenticator=one, counter__lt=counter).update(
        counter=counter
    )
    return moved == 1
