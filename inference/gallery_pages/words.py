"""Refusals and what becomes of an engine, in the words of the pages."""

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.wording import plain_words
from core.errors import ConflictError, GatehouseError, ModelNotFoundError, NotFoundError
from inference.said import as_sentence

ENGINE: dict[str, str | Promise] = {
    "unchanged": "",
    "restarting": gettext_lazy("Its engine starts anew once its callers are served."),
    "unloading": gettext_lazy("Its engine stops once its callers are served."),
    "next load": gettext_lazy("It counts at the next load."),
}


def engine_words(news: str) -> str:
    """What a change of its configuration means for a model's engine."""
    return str(ENGINE.get(news, ""))


def refusal(error: GatehouseError) -> tuple[str, str]:
    """(what happened, what to do), also of what engines and operations refuse."""
    if told := as_sentence(error.message):
        return told, ""
    return plain_words(error)


def plain(error: GatehouseError) -> tuple[str, str]:
    """The same on pages of models and backends, where what is not there was there a moment ago."""
    if isinstance(error, ModelNotFoundError | NotFoundError):
        return _("There is nothing of that name here any more."), _("The page shows what is.")
    what, more = refusal(error)
    if isinstance(error, ConflictError) and "by hand" in error.message:
        return what, _("“Read files again” on the page of its configuration does the first.")
    return what, more
