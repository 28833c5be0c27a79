"""The contract's errors in plain words, as the pages say them (ui/notes.md, "Words")."""

from core.errors import GatehouseError

_WORDS = {
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


def plain_words(error: GatehouseError) -> tuple[str, str]:
    """(what happened, what to do) for a page."""
    if error.http_status == 429:
        seconds = int(error.retry_after_s or 60)
        return "Too many tries.", f"You can try again in {max(1, seconds)} seconds."
    known = _WORDS.get(error.message)
    if known is not None:
        return known
    return error.message[:1].upper() + error.message[1:].rstrip(".") + ".", ""
