"""Who comes in by a provider: known people, newcomers, and whom the rules keep out (contract 3.5)."""

from dataclasses import dataclass
from datetime import datetime

from allauth.socialaccount.models import SocialAccount
from django.db import IntegrityError, transaction

from accounts import people
from accounts.audit import Actor
from accounts.invites import InviteError
from accounts.models import Role, RoleSource, Status, User
from accounts.registration import (
    InviteRequiredError,
    SetupTokenError,
    Terms,
    admit_newcomer,
    normalised_email,
)
from accounts.runtime import env
from accounts.social.identity import Identity, SignInRefusedError
from core.errors import InvalidRequestError


@dataclass(frozen=True, slots=True)
class Arrival:
    """The account behind an identity, and whether it was made just now."""

    user: User
    created: bool


def arrive(identity: Identity, terms: Terms, *, now: datetime, by: Actor) -> Arrival:
    """The account of `identity`, found or made; its status is the caller's to judge.

    Known by (provider, subject) alone, never by address (C-18). Raises SignInRefusedError.
    """
    linked = _linked(identity)
    if linked is not None:
        return Arrival(_seen_again(linked, identity, now=now, by=by), created=False)
    if not identity.email:
        raise SignInRefusedError("email_required", "the provider gives no address")
    try:
        with transaction.atomic():
            return Arrival(_newcomer(identity, terms, now=now, by=by), created=True)
    except IntegrityError as exc:  # the same person in another tab was faster
        raise SignInRefusedError("try_again", "the account was made in the same moment") from exc


def _linked(identity: Identity) -> User | None:
    row = (
        SocialAccount.objects.select_related("user")
        .filter(provider=identity.provider, uid=identity.subject)
        .first()
    )
    return row.user if row is not None else None


def _newcomer(identity: Identity, terms: Terms, *, now: datetime, by: Actor) -> User:
    try:
        email = normalised_email(identity.email)
    except InvalidRequestError as exc:
        raise SignInRefusedError("email_required", "the provider's address is none") from exc
    draft = User(
        email=email,
        name=identity.name or email,
        avatar_url=identity.avatar_url,
        provider=identity.provider,
        subject=identity.subject,
        email_verified_at=now if identity.verified else None,
    )
    draft.set_unusable_password()
    try:
        outcome = admit_newcomer(draft, terms, now=now, by=by)
    except InviteRequiredError as exc:
        raise SignInRefusedError("invite_required", exc.message) from exc
    except InviteError as exc:
        raise SignInRefusedError("invalid_invite", exc.message) from exc
    except SetupTokenError as exc:
        raise SignInRefusedError("setup_token_required", exc.message) from exc
    if outcome.user is None:
        if _linked(identity) is not None:
            raise SignInRefusedError("try_again", "the account was made in the same moment")
        raise SignInRefusedError("email_in_use", "another account has this address")
    SocialAccount.objects.create(
        user=draft, provider=identity.provider, uid=identity.subject, extra_data={}
    )
    return _with_groups(draft, identity, now=now, by=by)


def _seen_again(user: User, identity: Identity, *, now: datetime, by: Actor) -> User:
    """Name and address stay as their owner has them (W-16); a proof of the address is noted."""
    if identity.verified and identity.email == user.email and user.email_verified_at is None:
        user.email_verified_at = now
        user.save(update_fields=["email_verified_at"])
    return _with_groups(user, identity, now=now, by=by)


def _with_groups(user: User, identity: Identity, *, now: datetime, by: Actor) -> User:
    """S-44: members of the admin groups are admins while they are members; a role given by hand stays."""
    wanted = set(env().oidc_admin_groups)
    if identity.provider != "oidc" or not wanted or user.status == Status.DISABLED:
        return user
    provider = Actor("", "LOCALAI_OIDC_ADMIN_GROUPS", "setting", by.address)
    if identity.groups & wanted:
        if user.role != Role.ADMIN:
            user = people.set_role(user.pk, Role.ADMIN, by=provider, source=RoleSource.GROUPS)
        User.objects.filter(pk=user.pk, role_source=RoleSource.GROUPS).update(groups_seen_at=now)
    elif user.role == Role.ADMIN and user.role_source == RoleSource.GROUPS:
        try:
            user = people.set_role(user.pk, Role.USER, by=provider)
        except InvalidRequestError:  # the last admin stays one (S-08)
            return user
    return user
