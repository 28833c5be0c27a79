"""Numbers on pages are Django's, in every language, though the usual ones are made without it."""

import pytest
from django.utils import translation
from django.utils.formats import number_format

from accounts.ui import numbers


@pytest.mark.parametrize("language", ["en", "de", "fr", "hi", "de-ch", "pt"])
def test_whole_numbers_are_grouped_as_django_groups_them(language):
    with translation.override(language):
        for value in (0, 7, 999, 1000, 1885876, 10**15, -1, -1234567, True):
            wanted = number_format(value, decimal_pos=0, use_l10n=True, force_grouping=True)

            assert numbers.grouped(value) == wanted


def test_a_language_with_other_groups_has_them(settings, monkeypatch):
    monkeypatch.setattr(numbers, "get_format", lambda _name: (3, 2, 0))

    assert numbers.grouped(1885876) == "1,885,876"  # Django's own way was taken
