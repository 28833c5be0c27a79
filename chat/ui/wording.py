"""Refusals and broken answers in plain words (ui/notes.md, "Words"): for the page, and for its script.

`{model}`, `{seconds}` and `{time}` are filled in by whoever shows them.
"""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.wording import sentence
from core.errors import GatehouseError

Words = tuple[str | Promise, str | Promise]

# By `reason` (core/errors.py): what happened, and what is safe or what to do.
REFUSED: dict[str, Words] = {
    "model_loading": (
        _("{model} is loading."),
        _("About {seconds} s left; your message is sent then."),
    ),
    "model_not_allowed": (
        _("You may not use this model."),
        _("Ask an administrator, or choose another."),
    ),
    "model_disabled": (_("{model} is switched off."), _("Choose another model.")),
    "model_not_found": (_("There is no model {model} here."), _("Choose another one.")),
    "feature_disabled": (_("Chat is off for your account."), _("Ask an administrator.")),
    "forbidden": (_("You may not do this."), _("Ask an administrator.")),
    "quota_exceeded": (
        _("A limit of {model} is reached."),
        _("You can go on at {time}, or choose another model now."),
    ),
    "rate_limited": (_("Too many at once."), _("You can try again in {seconds} s.")),
    "queue_full": (_("{model} is busy."), _("Try again in {seconds} s. Your text stays here.")),
    "engine_failed": (
        _("{model} did not answer."),
        _("It is being started again. Your text stays here; try again in a moment."),
    ),
    "engine_timeout": (_("{model} took too long."), _("Your text stays here; try again.")),
    "unavailable": (
        _("{model} cannot answer now."),
        _("Your text stays here; try again in a moment."),
    ),
    "offline": (
        _("The server cannot be reached."),
        _("Your text stays here until it is sent."),
    ),
}

# By `reason` of an answer that broke off, or of which nothing came.
BROKEN: dict[str, Words] = {
    "server_stopped": (_("The server was stopped while it answered."), _("What arrived is kept.")),
    "too_long": (_("The answer became longer than is kept."), _("What arrived is kept.")),
    "quota_exceeded": (_("A limit was reached."), _("What arrived is kept.")),
    "engine_timeout": (_("{model} took too long."), _("Nothing you wrote is lost.")),
    "": (_("The connection to the model broke."), _("Nothing you wrote is lost.")),
}


def plain_words(error: GatehouseError, model: str) -> tuple[str, str]:
    """(what happened, what to do) of a refusal, for the page without script."""
    found = REFUSED.get(error.reason)
    if found is None:
        return sentence(error.message), ""
    seconds = str(int(error.retry_after_s or 5))
    if error.reason == "model_loading":
        found = found[0], _("About {seconds} s left; send it again then.")
    elif error.reason == "quota_exceeded":
        found = found[0], _("You can go on in {seconds} s, or choose another model now.")
    named = {"{model}": model or str(_("The model")), "{seconds}": seconds}
    return _filled(str(found[0]), named), _filled(str(found[1]), named)


def _filled(words: str, named: dict[str, str]) -> str:
    for placeholder, value in named.items():
        words = words.replace(placeholder, value)
    return words


def for_script() -> dict[str, dict[str, list[str]]]:
    """Both tables in the reader's language."""
    return {
        "refused": {reason: [str(a), str(b)] for reason, (a, b) in REFUSED.items()},
        "broken": {reason: [str(a), str(b)] for reason, (a, b) in BROKEN.items()},
    }
