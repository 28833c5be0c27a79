"""Translations: what is compiled is what stands in the catalogue, and no answer of the API is translated."""

import gettext
import re
import shutil
import subprocess

import pytest

from tests.servers import ROOT

CATALOGUES = sorted((ROOT / "locale").glob("*/LC_MESSAGES/django.po"))
# Where the contract's wording is made. Nothing in there may ever ask for a translation.
FOR_PROGRAMS = ["core", "accounts/api", "accounts/openapi", "inference/api", "usage/api"]


def texts_of(path):
    with path.open("rb") as file:
        catalogue = gettext.GNUTranslations(file)
    return {key: value for key, value in catalogue._catalog.items() if key}


@pytest.mark.parametrize("catalogue", CATALOGUES, ids=lambda each: each.parent.parent.name)
def test_the_compiled_catalogue_is_the_written_one(catalogue, tmp_path):
    if shutil.which("msgfmt") is None:
        pytest.skip("gettext is not installed on this machine")
    made = tmp_path / "made.mo"
    checked = ["msgfmt", "--check-format", "-o", str(made), str(catalogue)]
    subprocess.run(checked, check=True, capture_output=True)

    assert texts_of(made) == texts_of(catalogue.with_suffix(".mo"))


@pytest.mark.parametrize("folder", FOR_PROGRAMS)
def test_what_programs_read_is_never_translated(folder):
    for path in (ROOT / folder).rglob("*.py"):
        assert not re.search(r"\bu?n?p?gettext|utils\.translation", path.read_text()), path
