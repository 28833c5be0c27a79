"""What is said of an error keeps the letters of names: only words of ours begin with a capital."""

import pytest

from accounts.wording import plain_words, sentence
from core.errors import InvalidRequestError


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("the secrets are in the environment", "The secrets are in the environment."),
        ("unknown feature: x", "Unknown feature: x."),
        ("This is said.", "This is said."),
        ("little is disabled", "little is disabled."),
        ("qwen3-4b is up to date", "qwen3-4b is up to date."),
        ("little, line 2: a key is there twice", "little, line 2: a key is there twice."),
        ("replicas: wants a number", "replicas: wants a number."),
        ("max_tokens must be a whole number", "max_tokens must be a whole number."),
        ("ñandú is disabled", "ñandú is disabled."),
        ("the-model is disabled", "the-model is disabled."),
        ("'the' is a name", "'the' is a name."),
    ],
)
def test_a_name_at_the_start_of_a_message_stays_as_it_is(message, told):
    assert sentence(message) == told
    assert plain_words(InvalidRequestError(message)) == (told, "")
