"""What operations and engines say of themselves is German on a German page, and stays what it was elsewhere."""

import re

import pytest
from django.utils import translation

from core.errors import ConflictError, InvalidRequestError
from inference.gallery_pages.words import refusal
from inference.said import SENTENCES, said
from tests.servers import ROOT

PLACE = re.compile(r"%\(\w+\)s")


@pytest.fixture(scope="module")
def sources():
    """All our code but the list itself, as one text."""
    files = [*(ROOT / "core").glob("*.py"), *(ROOT / "inference").glob("*.py")]
    return "\n".join(path.read_text() for path in files if path.name != "said.py")


@pytest.mark.parametrize("sentence", SENTENCES)
def test_each_sentence_is_one_that_the_code_says(sources, sentence):
    put_together = {  # where a place of the code's own says the rest
        "models may": "may",
        "model may": "may",
        "(graphics card)": "",
        "(RAM)": "",
        "the engine does not answer": "does not answer",
    }
    for whole, part in put_together.items():
        sentence = sentence.replace(whole, part)
    for piece in PLACE.split(sentence):
        assert piece.strip(" :'") in sources, piece


@pytest.mark.parametrize("sentence", SENTENCES)
def test_each_sentence_is_recognised_and_translated(sentence):
    named = {name: f"«{name}»" for name in re.findall(r"%\((\w+)\)s", sentence)}
    english = sentence % named
    assert said(english) == english
    with translation.override("de"):
        german = said(english)
    assert german == translation_of(sentence) % named
    assert german != english


def translation_of(sentence):
    with translation.override("de"):
        return translation.gettext(sentence)


def test_what_is_within_another_sentence_is_translated_too():
    with translation.override("de"):
        assert said("unloaded: it was idle") == "entladen: unbenutzt"
        found = said("the engine ended: RuntimeError: %(x)s 100%")
    assert found.endswith("RuntimeError: %(x)s 100%")


@pytest.mark.parametrize(
    "words", ["", "ERROR: of pip", "%(name)s", "waiting for Godot", "x" * 5000]
)
def test_the_words_of_others_stay_as_they_are(words):
    with translation.override("de"):
        assert said(words) == words


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_refusal_begins_with_a_capital_unless_with_a_name(sentence, language):
    names = dict.fromkeys(re.findall(r"%\((\w+)\)s", sentence), "model")
    with translation.override(language):
        shown = translation.gettext(sentence)
        told, _more = refusal(ConflictError(sentence % names))

    wanted = shown % names
    if not shown.startswith("%("):
        wanted = wanted[0].upper() + wanted[1:]
    assert told == wanted.rstrip(".") + "."


def test_a_refusal_of_others_words_keeps_its_first_letter():
    assert refusal(InvalidRequestError("little: wants a number"))[0] == "little: wants a number."
