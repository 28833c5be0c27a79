"""Making an account: modes, invites, the first admin (contract 3.1, 3.2; S-30 to S-33)."""

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from accounts import invites
from accounts.audit import Actor, Subject, record
from accounts.models import Invite, Role, SignUpLock, Status, User
from accounts.passwords import check_password_rules
from accounts.runtime import env
from core.errors import ForbiddenError, InvalidRequestError
from core.files import secret_from_file

MAX_NAME_CHARS = 200
_LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "::1"}


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
    """`user` is None where the address was taken already; `pending` waits for approval."""

    user: User | None
    pending: bool


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
    try:
        with transaction.atomic():
            outcome = _save(draft, asked, now=now)
            if outcome.user is not None:
                after = {"role": draft.role, "status": draft.status, "provider": draft.provider}
                record("register", by, Subject(draft.pk, draft.email), after=after)
            return outcome
    except IntegrityError:
        return Outcome(None, pending=_would_wait(asked.invite_code))


def _save(draft: User, asked: Registration, *, now: datetime) -> Outcome:
    SignUpLock.objects.select_for_update().get_or_create(id=1)
    if not has_admin():
        check_setup_token(asked.setup_token)
        draft.role, draft.status = Role.ADMIN, Status.ACTIVE
        draft.save(force_insert=True)
        return Outcome(draft, pending=False)
    invite = _invite_for(asked.invite_code.strip(), now=now)
    if User.objects.filter(email=draft.email).exists():
        return Outcome(None, pending=_would_wait(asked.invite_code))
    active = env().registration_mode == "open" or invite is not None
    draft.status = Status.ACTIVE if active else Status.PENDING
    draft.save(force_insert=True)
    if invite is not None:
        invites.consume(invite, user=draft, now=now)
    return Outcome(draft, pending=not active)


def _invite_for(code: str, *, now: datetime) -> Invite | None:
    """The invite this registration uses; None where it needs none and brought none."""
    mode = env().registration_mode
    if mode == "open":
        return None
    if not code:
        if mode == "invite":
            raise InvalidRequestError("an invite code is required to register", param="inviteCode")
        return None
    invite = invites.find_usable(code, now=now)
    if invite is None:
        raise invites.InviteError
    return invite


def _would_wait(invite_code: str) -> bool:
    """Whether a new account would have had to wait: a taken address gets the same answer (S-33)."""
    return env().registration_mode == "approval" and not invite_code.strip()


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
        raise ForbiddenError(
            "the set-up token is required for the first account; "
            "`manage.py setuptoken` on the server shows it"
        )


def burn_password(password: str) -> None:
    """Spend the time of one hash, so that an unknown address takes as long as a known one."""
    User().set_password(password or secrets.token_hex(8))
