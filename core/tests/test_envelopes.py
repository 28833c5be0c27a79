import orjson
import pytest

from core.envelopes import envelope, error_headers, stream_error
from core.errors import (
    REASONS,
    EngineFailedError,
    GatehouseError,
    ModelLoadingError,
    TooLargeError,
    UnauthenticatedError,
)


def test_401_is_the_contracts_body_and_challenge():
    error = UnauthenticatedError()

    assert envelope(error, "openai") == {
        "error": {
            "code": 401,
            "message": "An authentication key is required",
            "type": "invalid_request_error",
            "reason": "unauthenticated",
        }
    }
    assert error_headers(error) == [(b"www-authenticate", b"Bearer")]


def test_each_family_says_an_error_in_its_own_shape():
    error = TooLargeError("too big", param="messages")

    assert envelope(error, "anthropic") == {
        "type": "error",
        "error": {"type": "request_too_large", "message": "too big", "reason": "too_large"},
    }
    assert envelope(error, "responses")["error"]["param"] == "messages"
    assert envelope(error, "flat") == {"error": "too big"}


def test_loading_carries_its_object_and_a_whole_retry_after():
    error = ModelLoadingError("x", retry_after_s=2.2, extra={"loading": {"model": "m"}})

    body = envelope(error, "openai")

    assert body["error"]["code"] == "model_loading"
    assert body["loading"] == {"model": "m"}
    assert error_headers(error) == [(b"retry-after", b"3")]


@pytest.mark.parametrize(
    ("family", "marker"),
    [("openai", b"data: [DONE]\n\n"), ("responses", b"data: [DONE]\n\n"), ("anthropic", b"\n\n")],
)
def test_an_error_in_a_stream_ends_with_the_familys_marker(family, marker):
    raw = stream_error(EngineFailedError(), family)

    assert raw.endswith(marker)
    event = next(line[6:] for line in raw.split(b"\n") if line.startswith(b"data: "))
    assert b"engine_failed" in event
    assert orjson.loads(event)


def test_every_error_class_uses_a_reason_of_the_closed_list():
    def below(cls):
        for each in cls.__subclasses__():
            yield each
            yield from below(each)

    assert {cls.reason for cls in below(GatehouseError)} <= set(REASONS)
