"""R-27: moments with offsets that Python takes and PostgreSQL does not, found by schemathesis on it."""

import pytest

pytestmark = pytest.mark.django_db
FAR_OFF = ["2030-11-16T06:03:44-19:52", "2030-11-16T06:03:44+23:59"]
BEYOND = "0001-01-01T00:00:00+10:00"  # before the first year, in UTC


@pytest.mark.parametrize("moment", FAR_OFF)
def test_r27_the_audit_trail_takes_any_offset(as_alice, moment):
    for name in ("from", "to"):
        query = f"{name}={moment.replace('+', '%2B')}"
        assert as_alice.get(f"/api/auth/admin/audit?{query}").status_code == 200
        lines = as_alice.get(f"/api/auth/admin/audit?format=jsonl&{query}")
        assert list(lines.streaming_content) is not None


@pytest.mark.parametrize("moment", FAR_OFF)
def test_r27_a_key_may_end_at_any_offset(as_bob, moment):
    made = as_bob.post("/api/auth/api-keys", {"name": "far", "expiresAt": moment})

    assert made.status_code == 201
    assert made.json()["expiresAt"].endswith("Z")


@pytest.mark.parametrize("moment", FAR_OFF)
def test_r27_a_price_may_begin_at_any_offset(as_alice, moment):
    body = {"model": "m", "prompt": "1", "valid_from": moment}

    assert as_alice.post("/api/auth/admin/prices", body).status_code == 201


def test_r27_a_moment_that_utc_has_no_year_for_is_400(as_alice, as_bob):
    beyond = BEYOND.replace("+", "%2B")
    refused = [
        as_alice.get(f"/api/auth/admin/audit?from={beyond}"),
        as_bob.post("/api/auth/api-keys", {"name": "far", "expiresAt": BEYOND}),
        as_alice.post("/api/auth/admin/prices", {"model": "m", "valid_from": BEYOND}),
        as_alice.get(f"/api/auth/admin/usage?from={beyond}"),
    ]

    assert [each.status_code for each in refused] == [400] * 4
