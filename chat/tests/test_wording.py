"""Refusals in words, on the chat page without script."""

from chat.ui.wording import plain_words
from core.errors import NotSupportedError


def test_a_model_that_does_not_serve_it_keeps_its_name():
    error = NotSupportedError("little does not serve chat.")
    assert plain_words(error, "little") == ("little does not serve chat.", "")
