"""Gather the texts of pages: Django's command, told of this repository's short names for gettext."""

from django.core.management.commands import makemessages

# What gettext and gettext_lazy are called where a module needs both; tests/test_translations.py holds
# the imports to it. A text behind any other name would silently stay English.
SHORT_NAMES = ("_", "lazy", "_now")


class Command(makemessages.Command):
    xgettext_options = [
        *makemessages.Command.xgettext_options,
        *(f"--keyword={name}" for name in SHORT_NAMES),
    ]
    # A guess from a similar text is worse than none: it looks done and says something else.
    msgmerge_options = [
        *makemessages.Command.msgmerge_options,
        "--no-fuzzy-matching",
    ]
