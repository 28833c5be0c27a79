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


def plain_words(error: GatehouseError) -> tuple[str, str]:
    """(what happened, what to do) for a page."""
    if error.http_status == 429:
        seconds = int(error.retry_after_s or 60)
        return "Too many tries.", f"You can try again in {max(1, seconds)} seconds."
    known = _WORDS.get(error.message)
    if known is not None:
        return known
    return error.message[:1].upper() + error.message[1:].rstrip(".") + ".", ""
