"""The contract's errors in plain words, as the pages say them (the design notes, "Words").

Each is (what happened, what is safe or what to do), in the reader's language; answers for programs
keep the contract's own texts.
"""

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy
from django.utils.translation import ngettext

from accounts.meanwhile import MESSAGE as MEANWHILE
from accounts.passwords import PasswordError
from core.errors import GatehouseError

Words = tuple[str, str]

_WRONG_PASSWORD = (lazy("Wrong email or password."), lazy("Check both and try again."))
_DISABLED = (lazy("This account is disabled."), lazy("Ask an administrator."))
_INVITE_USED = (lazy("This invite is used or expired."), lazy("Ask for a new link."))
_INVITE_WANTED = (
    lazy("Registration needs an invite."),
    lazy("Ask an administrator for a link."),
)
_LINK_USED = (lazy("This link is used or expired."), lazy("Ask for a new one."))
_SETUP_TOKEN = (
    lazy("The first account needs the set-up token."),
    lazy("On the server, `python manage.py setuptoken` shows it."),
)
_WORDS = {
    "invalid email or password": _WRONG_PASSWORD,
    "email and password are required": _WRONG_PASSWORD,
    "account disabled": _DISABLED,
    "account pending admin approval": (
        lazy("Your account waits for approval."),
        lazy("An administrator will let you in."),
    ),
    "confirm your email address first": (
        lazy("Confirm your email address first."),
        lazy("Follow the link in the letter you were sent."),
    ),
    "the set-up token is required for the first account; `manage.py setuptoken` on the server "
    "shows it": _SETUP_TOKEN,
    "invalid or expired invite code": _INVITE_USED,
    "an invite code is required to register": _INVITE_WANTED,
    "invalid token": (lazy("Wrong API key."), lazy("It may have been revoked or have expired.")),
    "token is required": (lazy("Enter an API key."), ""),
    "email is required": (lazy("Enter an email address."), ""),
    "invalid email address": (lazy("This is not an email address."), lazy("Check it.")),
    "current password is incorrect": (lazy("The current password is wrong."), ""),
    "current and new passwords are required": (lazy("Enter a password."), ""),
    "the two passwords differ": (lazy("The two passwords differ."), ""),
    "choose a password other than the one you were given": (
        lazy("Choose a password other than the one you were given."),
        "",
    ),
    "password change is only available for local accounts": (
        lazy("Your account signs in elsewhere."),
        lazy("Its password is changed there."),
    ),
    "local login is disabled, please use OAuth": (
        lazy("Passwords are switched off on this server."),
        lazy("Sign in another way."),
    ),
    "local registration is disabled": (
        lazy("Registration with a password is switched off."),
        lazy("Sign in another way."),
    ),
    "invalid code": (
        lazy("Wrong code."),
        lazy("Codes change every 30 seconds. Take the next one."),
    ),
    "invalid or expired token": _LINK_USED,
    "name is required": (lazy("Enter a name."), ""),
    "one-time codes are set up already": (lazy("One-time codes are set up already."), ""),
    "API key not found": (lazy("This key is not there any more."), ""),
    "session not found": (lazy("This session has ended already."), ""),
    "quota rule not found": (lazy("This quota is not there any more."), ""),
    "write something first": (lazy("Write something first."), ""),
    "chat not found": (lazy("This conversation is not there any more."), ""),
    "This needs a personal account.": (lazy("This needs a personal account."), ""),
    "This needs a signed-in session; an API key may not do it.": (
        lazy("An API key may not do this."),
        lazy("Sign in with your account."),
    ),
    "The settings could not be read yet.": (
        lazy("The settings could not be read yet."),
        lazy("Try again in a moment."),
    ),
    "The books are being compared at this moment.": (
        lazy("The books are being compared at this moment."),
        "",
    ),
    "a deletion that has begun cannot be cancelled": (
        lazy("A deletion that has begun cannot be cancelled."),
        "",
    ),
    "name is not one a model may have": (
        lazy("A model may not have this name."),
        lazy("Use letters, digits, dots and dashes, and one slash at most."),
    ),
    "The request body is too large.": (lazy("This is too large."), lazy("Send less at once.")),
    MEANWHILE: (
        lazy("Somebody else changed this meanwhile, so nothing was saved."),
        lazy("What you changed is still here: compare it with what there is now, then save again."),
    ),
    # people's pages
    "password reset is only available for local accounts": (
        lazy("This account signs in elsewhere."),
        lazy("It has no password here."),
    ),
    "there is no such factor": (lazy("This is switched off already."), ""),
    "this is the only way to sign in to your account": (
        lazy("This is the only way to sign in to your account."),
        lazy("Link another one first."),
    ),
    "this provider is not linked": (lazy("This provider is not linked."), ""),
    "name must be at most 100 characters": (lazy("Use at most 100 characters."), ""),
    "avatar URL must be at most 512 characters": (lazy("Use at most 512 characters."), ""),
    "avatar URL is not valid": (lazy("This is not an address."), lazy("Check it and try again.")),
    "avatar URL must be an http or https address": (
        lazy("Use an address that begins with https:// or http://."),
        "",
    ),
    "choose a date": (lazy("Choose a date."), ""),
    "expiresAt must be in the future": (lazy("Choose a date in the future."), ""),
    "invalid expiresIn format": (lazy("Choose when it expires."), ""),
    "An account holds at most 100 keys; revoke one first.": (
        lazy("An account holds at most 100 keys."),
        lazy("Revoke one first."),
    ),
    "the last active admin cannot be demoted, disabled or deleted": (
        lazy("This is the last administrator."),
        lazy("Make somebody else an administrator first."),
    ),
    "this account does not wait for approval": (
        lazy("Somebody answered this person already."),
        "",
    ),
    "cannot change your own role": (lazy("You cannot change your own role."), ""),
    "quotas are whole numbers from 0 on": (
        lazy("Quotas are whole numbers from 0 on."),
        lazy("Leave a field empty for no limit."),
    ),
    "choose a window": (lazy("Choose how long the quota counts."), ""),
    "user not found": (lazy("This account is not there any more."), ""),
    "cannot revoke a used invite": (
        lazy("This invite is used."),
        lazy("It cannot be revoked any more."),
    ),
    "invite not found": (lazy("This invite is not there any more."), ""),
}

# The words of ours that a message begins with, as far as no model, host or key may be called so: the
# first letter of anything else is not ours to change.
_OURS = (
    "a access account an at cannot choose could every failed give invalid it its line longer more"
    " nested no not one only others previous single some somebody start that the there these this"
    " too two unknown wants write your"
)
_BEGINNINGS = frozenset(_OURS.split())

_PASSWORDS = {
    "password_empty": lazy("Enter a password."),
    "password_too_long": lazy("Use at most 72 bytes."),
    "password_null_byte": lazy("This character cannot be used."),
    "password_too_short": lazy("Use at least 12 characters."),
    "password_too_weak": lazy("Easy to guess: use more words, or less common ones."),
}

_SOCIAL = {
    "invalid_state": (lazy("The sign-in did not finish."), lazy("Start it again.")),
    "access_denied": (
        lazy("You cancelled the sign-in."),
        lazy("Start it again if you want to go on."),
    ),
    "provider_unavailable": (
        lazy("The provider cannot be reached."),
        lazy("Try again in a moment."),
    ),
    "provider_error": (
        lazy("The provider's answer was not accepted."),
        lazy("Ask an administrator to test it."),
    ),
    "email_required": (
        lazy("The provider gave no email address."),
        lazy("Allow it there and try again."),
    ),
    "email_in_use": (
        lazy("Another account has this email address or sign-in."),
        lazy("Sign in the way you did before, then link the provider on your account page."),
    ),
    "invite_required": _INVITE_WANTED,
    "invalid_invite": _INVITE_USED,
    "setup_token_required": _SETUP_TOKEN,
    "account_pending": (
        lazy("Your account waits for approval."),
        lazy("An administrator will let you in."),
    ),
    "account_disabled": _DISABLED,
    "try_again": (lazy("Something else happened in the same moment."), lazy("Try again.")),
}


def _told(words: tuple[object, object]) -> Words:
    """In the language of this moment."""
    return str(words[0]), str(words[1])


def social_words(code: str, provider: str = "") -> Words | None:
    """What to say for a code of S-40; None for anything else a URL may hold."""
    if code in {"invalid_state", "provider_error"} and provider:
        shown = {"provider": provider}
        return _("Sign-in with %(provider)s did not finish.") % shown, _("Start it again.")
    words = _SOCIAL.get(code)
    return _told(words) if words is not None else None


def plain_words(error: GatehouseError) -> Words:
    """What to say of an error on a page."""
    if error.http_status == 429:
        seconds = max(1, int(error.retry_after_s or 60))
        said = ngettext(
            "You can try again in %(n)d second.", "You can try again in %(n)d seconds.", seconds
        )
        return _("Too many tries."), said % {"n": seconds}
    if isinstance(error, PasswordError):
        return str(_PASSWORDS[error.code]), ""
    known = _WORDS.get(error.message)
    if known is not None:
        return _told(known)
    return sentence(error.message), ""


def sentence(message: str) -> str:
    """A message as a sentence: with a full stop, and a capital letter where its first word is ours."""
    if message.partition(" ")[0] in _BEGINNINGS:
        message = message[0].upper() + message[1:]
    return message.rstrip(".") + "."


def in_words(error: GatehouseError) -> str:
    """The same in one line."""
    return " ".join(part for part in plain_words(error) if part)


def field_words(error: GatehouseError) -> dict[str, str]:
    """The same for the field that the error is about; empty where it is about none."""
    if not error.param:
        return {}
    return {error.param: in_words(error)}
