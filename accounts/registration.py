"""Making an account: modes, invites, the first admin (contract 3.1, 3.2; S-30 to S-33)."""

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from accounts import invites
from accounts.audit import Actor, Subject, record
from accounts.changes import rights_changed
from accounts.mail import letters
from accounts.models import Invite, Role, Session, SignUpLock, Status, User
from accounts.passwords import check_password_rules
from accounts.runtime import env
from accounts.runtime_settings.in_force import registration_mode
from core.errors import ForbiddenError, InvalidRequestError
from core.files import secret_from_file

MAX_NAME_CHARS = 200
Waits = Literal["", "approval", "mail"]
_LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "::1"}


class InviteRequiredError(InvalidRequestError):
    message = "an invite code is required to register"


class SetupTokenError(ForbiddenError):
    message = (
        "the set-up token is required for the first account; "
        "`manage.py setuptoken` on the server shows it"
    )


@dataclass(frozen=True, slots=True)
class Terms:
    """What a newcomer brings besides the account itself; strings as they came, trimmed."""

    invite_code: str = ""
    setup_token: str = ""


@dataclass(frozen=True, slots=True)
class Registration:
    """What somebody sends to register; strings as they came."""

    email: str
    password: str
    name: str = ""
    invite_code: str = ""
    acknowledge_weak_password: bool = False
    setup_token: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`user` is None where the address was taken already.

    `waits_for` is what has to come before a sign-in, or would have to for a new account (S-33).
    """

    user: User | None
    waits_for: Waits

    @property
    def pending(self) -> bool:
        return bool(self.waits_for)


def normalised_email(text: str) -> str:
    """Trimmed and lower-cased. Raises InvalidRequestError where it is not an address (W-20)."""
    email = text.strip().lower()
    if not email:
        raise InvalidRequestError("email is required", param="email")
    try:
        validate_email(email)
    except ValidationError as exc:
        raise InvalidRequestError("invalid email address", param="email") from exc
    if len(email) > 254:
        raise InvalidRequestError("invalid email address", param="email")
    return email


def register(asked: Registration, *, now: datetime, by: Actor) -> Outcome:
    """Make the account that `asked` describes, in the mode this server is in.

    Raises InvalidRequestError (address, password, invite) and ForbiddenError (set-up token). An
    address that is taken leaves everything as it was, the invite included.
    """
    if env().disable_local_auth:
        raise ForbiddenError("local registration is disabled")
    email = normalised_email(asked.email)
    name = asked.name.strip()[:MAX_NAME_CHARS] or email
    if "\0" in name or "\0" in email:
        raise InvalidRequestError("invalid request")
    first = not has_admin()
    check_password_rules(
        asked.password,
        acknowledged=asked.acknowledge_weak_password,
        for_admin=first,
        hints=[email, email.partition("@")[0], name],
    )
    draft = User(email=email, name=name)
    draft.set_password(asked.password)  # slow by design, so before the transaction
    terms = Terms(asked.invite_code.strip(), asked.setup_token)
    try:
        with transaction.atomic():
            outcome = admit_newcomer(draft, terms, now=now, by=by)
            if letters.is_configured():
                _write_about(outcome, email)
            return outcome
    except IntegrityError:
        return Outcome(None, _would_wait(draft, terms.invite_code))


def _write_about(outcome: Outcome, email: str) -> None:
    """A link that proves the address, or word to whoever has it already (S-33)."""
    if outcome.user is not None:
        letters.write("verify", outcome.user)
    elif (there := User.objects.filter(email=email).first()) is not None:
        letters.write("taken", there)


def admit_newcomer(draft: User, terms: Terms, *, now: datetime, by: Actor) -> Outcome:
    """Save `draft` with the role and status that mode and `terms` give it, by any way of signing up.

    Inside a transaction. `draft.email_verified_at` says whether its address is proven. Raises
    InviteRequiredError, InviteError, SetupTokenError; IntegrityError where another was faster. An
    address that is taken leaves everything as it was, the invite included.
    """
    SignUpLock.take()
    invite = None
    if not has_admin():
        check_setup_token(terms.setup_token)
        draft.role, draft.status = Role.ADMIN, Status.ACTIVE
    elif is_proven_admin(draft):
        draft.role, draft.status = Role.ADMIN, Status.ACTIVE
    else:
        invite = _invite_for(terms.invite_code, now=now)
        waits = "" if invite is not None else _would_wait(draft, terms.invite_code)
        draft.status = Status.PENDING if waits else Status.ACTIVE
    if not _make_room(draft, now=now, by=by):
        return Outcome(None, _would_wait(draft, terms.invite_code))
    draft.save(force_insert=True)
    if invite is not None:
        invites.consume(invite, user=draft, now=now)
    after = {"role": draft.role, "status": draft.status, "provider": draft.provider}
    record("register", by, Subject(draft.pk, draft.email), after=after)
    if draft.status == Status.ACTIVE:
        return Outcome(draft, "")
    waits = _would_wait(draft, terms.invite_code)
    if waits == "approval":
        letters.write("approval_wanted", draft)
    return Outcome(draft, waits)


def _make_room(draft: User, *, now: datetime, by: Actor) -> bool:
    """Whether nobody has the address, or had it without ever proving it while `draft` does (S-32).

    Who is displaced keeps neither keys nor sessions nor the address; admins are never displaced.
    """
    there = User.objects.filter(email=draft.email).first()
    if there is None:
        return True
    if draft.email_verified_at is None or there.email_verified_at is not None:
        return False
    if there.role == Role.ADMIN:
        return False
    rights_changed(there.pk)
    record("user_displaced", by, Subject(there.pk, there.email), before={"status": there.status})
    Session.objects.filter(user=there).delete()
    there.api_keys.all().delete()
    User.objects.filter(pk=there.pk).update(
        email=f"{there.pk}@displaced.invalid", status=Status.DISABLED, subject=None
    )
    return True


def is_proven_admin(user: User) -> bool:
    """Whether this is LOCALAI_ADMIN_EMAIL's account, by an address that is proven (S-01)."""
    named = env().admin_email.strip().lower()
    return bool(named) and user.email == named and user.email_verified_at is not None


def _invite_for(code: str, *, now: datetime) -> Invite | None:
    """The invite this registration uses; None where it needs none and brought none."""
    mode = registration_mode()
    if mode == "open":
        return None
    if not code:
        if mode == "invite":
            raise InviteRequiredError(param="inviteCode")
        return None
    invite = invites.find_usable(code, now=now)
    if invite is None:
        raise invites.InviteError
    return invite


def _would_wait(draft: User, invite_code: str) -> Waits:
    """What a new account has to wait for in this mode: a taken address gets the same answer (S-33)."""
    mode = registration_mode()
    if mode == "approval" and not invite_code:
        return "approval"
    unproven = draft.email_verified_at is None and letters.is_configured()
    return "mail" if mode == "open" and unproven else ""


def has_admin() -> bool:
    """Whether a human admin exists; until then the next account becomes one (S-31)."""
    return User.objects.filter(role=Role.ADMIN).exists()


def needs_setup_token() -> bool:
    """True while no admin exists on a server that others can reach (S-30)."""
    host = urlsplit(env().public_url).hostname or ""
    reachable = not env().binds_loopback or host not in _LOOPBACK_HOSTS
    return reachable and not has_admin()


def setup_token_path() -> Path:
    return env().data_path / "setup-token"


def check_setup_token(given: str) -> None:
    """Raise ForbiddenError where the set-up token is asked for and `given` is not it."""
    if not needs_setup_token():
        return
    wanted = secret_from_file(setup_token_path())
    if not hmac.compare_digest(given.strip().encode(), wanted.encode()):
        raise SetupTokenError


def burn_password(password: str) -> None:
    """Spend the time of one hash, so that an unknown address takes as long as a known one."""
    User().set_password(password or secrets.token_hex(8))
