"""Further ways of signing in to one's own account: linked and unlinked by its signed-in owner."""

from typing import cast

from allauth.socialaccount.models import SocialAccount
from django.contrib import messages
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _

from accounts.audit import Actor, actor_of, record
from accounts.models import User
from accounts.pages import PROVIDER_NAMES
from accounts.people import subject
from accounts.social.identity import Identity, SignInRefusedError
from core.errors import InvalidRequestError, NotFoundError
from core.http import GatedRequest

PAGE = "/app/account/security"


def linked(user: User) -> list[str]:
    """The providers of `user`, in the order they were linked."""
    rows = SocialAccount.objects.filter(user=user).order_by("pk")
    return list(rows.values_list("provider", flat=True))


def add(request: HttpRequest, identity: Identity, *, wanted_by: str) -> HttpResponse:
    """Link `identity` to whoever began it and is still signed in. Raises SignInRefusedError."""
    principal = cast("GatedRequest", request).principal
    if principal is None or not wanted_by or principal.user_id != wanted_by:
        raise SignInRefusedError("invalid_state", "somebody else is signed in now")
    user = User.objects.get(pk=principal.user_id)
    there = SocialAccount.objects.filter(provider=identity.provider, uid=identity.subject).first()
    if there is not None and there.user_id != user.pk:
        raise SignInRefusedError("email_in_use", "this identity belongs to another account")
    if there is None:
        try:
            _save(request, user, identity)
        except IntegrityError as exc:
            raise SignInRefusedError("try_again", "linked in the same moment") from exc
    name = PROVIDER_NAMES[identity.provider]
    messages.success(request, _("%(provider)s is linked.") % {"provider": name})
    return HttpResponseRedirect(PAGE)


@transaction.atomic
def _save(request: HttpRequest, user: User, identity: Identity) -> None:
    if SocialAccount.objects.filter(user=user, provider=identity.provider).exists():
        raise SignInRefusedError("email_in_use", "another identity of this provider is linked")
    SocialAccount.objects.create(
        user=user, provider=identity.provider, uid=identity.subject, extra_data={}
    )
    record(
        "provider_linked", actor_of(request), subject(user), after={"provider": identity.provider}
    )


@transaction.atomic
def remove(user: User, provider: str, *, by: Actor) -> None:
    """Unlink `provider`. Raises InvalidRequestError for the last way in, NotFoundError."""
    rows = SocialAccount.objects.select_for_update().filter(user=user)
    if provider not in {row.provider for row in rows}:
        raise NotFoundError("this provider is not linked")
    if len(rows) == 1 and not user.has_usable_password():
        raise InvalidRequestError("this is the only way to sign in to your account")
    rows.filter(provider=provider).delete()
    if user.provider == provider:  # the identity is free again; `provider` still says how it began
        User.objects.filter(pk=user.pk).update(subject=None)
    record("provider_unlinked", by, subject(user), before={"provider": provider})
