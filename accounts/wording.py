"""The contract's errors in plain words, as the pages say them (ui/notes.md, "Words")."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from core.errors import GatehouseError

Text = str | Promise
_WORDS: dict[str, tuple[Text, Text]] = {
    "invalid email or password": ("Wrong email or password.", "Check both and try again."),
    "email and password are required": ("Wrong email or password.", "Check both and try again."),
    "account disabled": ("This account is disabled.", "Ask an administrator."),
    "invalid or expired invite code": ("This invite is used or expired.", "Ask for a new link."),
    "an invite code is required to register": (
        "Registration needs an invite.",
        "Ask an administrator for a link.",
    ),
    "invalid token": ("Wrong API key.", "It may have been revoked or have expired."),
    "token is required": ("Enter an API key.", ""),
    "email is required": ("Enter an email address.", ""),
    "invalid email address": ("This is not an email address.", "Check it and try again."),
    # people's pages
    "current password is incorrect": (_("The current password is wrong."), ""),
    "the two passwords differ": (_("The two passwords differ."), ""),
    "current and new passwords are required": (_("Enter both passwords."), ""),
    "password change is only available for local accounts": (
        _("This account signs in elsewhere."),
        _("Change the password there."),
    ),
    "password reset is only available for local accounts": (
        _("This account signs in elsewhere."),
        _("It has no password here."),
    ),
    "invalid code": (_("This code is wrong or used."), _("Wait for the next one and try again.")),
    "there is no such factor": (_("This is switched off already."), ""),
    "this is the only way to sign in to your account": (
        _("This is the only way to sign in to your account."),
        _("Link another one first."),
    ),
    "this provider is not linked": (_("This provider is not linked."), ""),
    "name is required": (_("Enter a name."), ""),
    "name must be at most 100 characters": (_("Use at most 100 characters."), ""),
    "avatar URL must be at most 512 characters": (_("Use at most 512 characters."), ""),
    "avatar URL is not valid": (_("This is not an address."), _("Check it and try again.")),
    "avatar URL must be an http or https address": (
        _("Use an address that begins with https:// or http://."),
        "",
    ),
    "choose a date": (_("Choose a date."), ""),
    "expiresAt must be in the future": (_("Choose a date in the future."), ""),
    "invalid expiresIn format": (_("Choose when it expires."), ""),
    "An account holds at most 100 keys; revoke one first.": (
        _("An account holds at most 100 keys."),
        _("Revoke one first."),
    ),
    "the last active admin cannot be demoted, disabled or deleted": (
        _("This is the last administrator."),
        _("Make somebody else an administrator first."),
    ),
    "this account does not wait for approval": (_("Somebody answered this person already."), ""),
    "cannot change your own role": (_("You cannot change your own role."), ""),
    "quotas are whole numbers from 0 on": (
        _("Quotas are whole numbers from 0 on."),
        _("Leave a field empty for no limit."),
    ),
    "choose a window": (_("Choose how long the quota counts."), ""),
    "user not found": (_("This account is not there any more."), ""),
    "cannot revoke a used invite": (_("This invite is used."), _("It cannot be revoked any more.")),
    "invite not found": (_("This invite is not there any more."), ""),
}


_SOCIAL = {
    "invalid_state": ("This sign-in has expired.", "Start it again."),
    "access_denied": ("You cancelled the sign-in.", "Start it again if you want to go on."),
    "provider_unavailable": ("The provider cannot be reached.", "Try again in a moment."),
    "provider_error": (
        "The provider's answer was not accepted.",
        "Ask an administrator to test it.",
    ),
    "email_required": ("The provider gave no email address.", "Allow it there and try again."),
    "email_in_use": (
        "Another account has this email address or sign-in.",
        "Sign in the way you did before, then link the provider on your account page.",
    ),
    "invite_required": ("Registration needs an invite.", "Ask an administrator for a link."),
    "invalid_invite": ("This invite is used or expired.", "Ask for a new link."),
    "setup_token_required": (
        "The first account needs the set-up token.",
        "On the server, `python manage.py setuptoken` shows it.",
    ),
    "account_pending": ("Your account waits for approval.", "An administrator will let you in."),
    "account_disabled": ("This account is disabled.", "Ask an administrator."),
    "try_again": ("Something else happened in the same moment.", "Try again."),
}


def social_words(code: str) -> tuple[str, str] | None:
    """(what happened, what to do) for a code of S-40; None for anything else a URL may hold."""
    return _SOCIAL.get(code)


def in_words(error: GatehouseError) -> str:
    """The same in one line, for beside a field."""
    return " ".join(str(part) for part in plain_words(error) if part)


def plain_words(error: GatehouseError) -> tuple[str, str]:
    """(what happened, what to do) for a page."""
    if error.http_status == 429:
        seconds = int(error.retry_after_s or 60)
        return "Too many tries.", f"You can try again in {max(1, seconds)} seconds."
    known = _WORDS.get(error.message)
    if known is not None:
        return str(known[0]), str(known[1])
    return error.message[:1].upper() + error.message[1:].rstrip(".") + ".", ""
