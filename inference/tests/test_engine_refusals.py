"""What an engine's refusal becomes on its way to the caller."""

from types import SimpleNamespace

import pytest

from inference import forwarding


@pytest.mark.parametrize(
    ("given", "told"), [(b"7", 7), (b"\xb2", 5), (b"", 5), (b"soon", 5), (b"9" * 400, 3600)]
)
async def test_an_engines_retry_after_is_passed_on_where_it_is_a_number(given, told):
    """R-27: whatever an engine writes there, its refusal stays one."""

    async def nothing():
        return b"{}"

    response = SimpleNamespace(status=429, retry_after=given, read=nothing)
    refused = await forwarding.refusal(response, None)

    assert refused.retry_after_s == told
