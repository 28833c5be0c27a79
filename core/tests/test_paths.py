import pytest

from core.errors import InvalidRequestError
from core.paths import canonical_path


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/", "/"),
        (b"/v1/models/", "/v1/models"),
        (b"/v1/models/a%2Fb", "/v1/models/a/b"),
        (b"/caf%C3%A9", "/café"),
        (b"/a.b/c", "/a.b/c"),
    ],
)
def test_a_plain_path_is_decoded_once(raw, path):
    assert canonical_path(raw) == path


@pytest.mark.parametrize(
    "raw",
    [
        b"//v1/models",
        b"/v1//models",
        b"/v1/../admin",
        b"/v1/./models",
        b"/v1/%2e%2e/admin",
        b"/v1/chat%2fcompletions",
        b"/v1/models/%2e%2e%2f%2e%2e/admin",
        b"/v1/models/..%2Fx",
        b"/v1\\admin",
        b"/v1/%5cadmin",
        b"/v1/%00",
        b"/v1/%0a",
        b"/%ff",
        b"/v1/%252e",
        b"/v1/chat/completion%7%33",
        b"v1/models",
        b"http://elsewhere/v1/models",
        b"/v1/models;x=%2e",
        b"",
    ],
)
def test_an_ambiguous_path_is_refused_before_anything_reads_it(raw):
    with pytest.raises(InvalidRequestError):
        canonical_path(raw)
