"""E-11 to E-13 and E-30 to E-32."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from accounts.models import ApiKey, Invite
from tests.people import Api


def test_e11_e12_the_secret_is_shown_once_and_stored_nowhere(as_bob):
    answer = as_bob.post("/api/auth/api-keys", {"name": " my key "})
    body = answer.json()

    assert answer.status_code == 201
    assert re.fullmatch(r"lai-[0-9a-f]{64}", body["key"])
    assert body["keyPrefix"] == body["key"][:12]
    assert body["name"] == "my key"
    assert "expiresAt" not in body
    row = ApiKey.objects.get()
    assert body["key"] not in {row.digest, row.name, row.prefix}
    listed = as_bob.get("/api/auth/api-keys").json()["keys"]
    assert [set(item) for item in listed] == [
        {"id", "name", "keyPrefix", "role", "createdAt", "lastUsed"}
    ]


def test_e11_expiry_by_span_and_by_moment(as_bob):
    span = as_bob.post("/api/auth/api-keys", {"name": "a", "expiresIn": "90d"}).json()
    moment = (timezone.now() + timedelta(days=1)).isoformat()
    both = as_bob.post(
        "/api/auth/api-keys", {"name": "b", "expiresAt": moment, "expiresIn": "1y"}
    ).json()

    assert parse_datetime(span["expiresAt"]) - parse_datetime(span["createdAt"]) > timedelta(
        days=89
    )
    assert parse_datetime(both["expiresAt"]) == parse_datetime(moment)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": " "},
        {"name": 5},
        {"name": "x" * 101},
        {"name": "a\0b"},
        {"name": "k", "expiresIn": "soon"},
        {"name": "k", "expiresIn": "-1d"},
        {"name": "k", "expiresIn": "0d"},
        {"name": "k", "expiresAt": "tomorrow"},
        {"name": "k", "expiresAt": "2020-01-01T00:00:00Z"},
        {"name": "k", "expiresAt": "2099-01-01T00:00:00"},
        {"name": "k", "expiresAt": "9999-12-31T23:59:59-14:00"},
        {"name": "k", "expiresAt": "2026-02-30T00:00:00Z"},
    ],
)
def test_s05_bad_names_and_expiries_are_400(as_bob, body):
    answer = as_bob.post("/api/auth/api-keys", body)

    assert answer.status_code == 400
    assert isinstance(answer.json()["error"], str)
    assert not ApiKey.objects.exists()


def test_c11_a_key_makes_no_keys(bob, make_key):
    _, secret = make_key(bob)

    assert Api(key=secret).post("/api/auth/api-keys", {"name": "more"}).status_code == 403
    assert Api(key="legacy-key-one").post("/api/auth/api-keys", {"name": "more"}).status_code == 403
    assert Api(key=secret).get("/api/auth/api-keys").status_code == 200


def test_e13_only_the_owner_revokes_and_it_works_at_once(
    as_bob, as_mallory, as_alice, bob, make_key
):
    key, secret = make_key(bob)
    url = f"/api/auth/api-keys/{key.pk}"

    for stranger in (as_mallory, as_alice):
        answer = stranger.delete(url)
        assert (answer.status_code, answer.json()) == (404, {"error": "API key not found"})
    assert as_bob.delete(url).json() == {"message": "API key revoked"}

    assert Api(key=secret).get("/api/auth/me").status_code == 401
    assert as_bob.delete(url).status_code == 404
    assert as_bob.delete("/api/auth/api-keys/not-a-uuid").status_code == 404


def test_e30_to_e32_the_life_of_an_invite(as_alice, as_bob):
    made = as_alice.post("/api/auth/admin/invites", {"expiresInHours": 2}).json()

    assert re.fullmatch(r"[0-9a-f]{64}", made["code"])
    listed = as_alice.get("/api/auth/admin/invites").json()["invites"][0]
    assert listed["codePrefix"] == made["code"][:8]
    assert listed["createdBy"]["name"] == "alice"
    assert listed["usedAt"] is None
    assert made["code"] not in str(listed)
    assert as_alice.delete(f"/api/auth/admin/invites/{made['id']}").json() == {
        "message": "invite revoked"
    }
    assert as_alice.delete(f"/api/auth/admin/invites/{made['id']}").status_code == 404


def test_e32_a_used_invite_stays(as_alice, bob):
    made = as_alice.post("/api/auth/admin/invites").json()
    Invite.objects.update(used_at=timezone.now(), used_by=bob)

    answer = as_alice.delete(f"/api/auth/admin/invites/{made['id']}")

    assert (answer.status_code, answer.json()["error"]) == (400, "cannot revoke a used invite")


@pytest.mark.parametrize("hours", [0, -1, 8761, 1.5, "2", True, 1e300])
def test_s22_hours_out_of_range_are_400(as_alice, hours):
    assert as_alice.post("/api/auth/admin/invites", {"expiresInHours": hours}).status_code == 400


def test_w30_the_legacy_principal_makes_an_invite_without_an_account(db):
    legacy = Api(key="legacy-key-one")

    assert legacy.post("/api/auth/admin/invites").status_code == 201
    assert legacy.get("/api/auth/admin/invites").json()["invites"][0]["createdBy"] == {
        "id": "",
        "name": "",
    }


def test_w04_an_invite_stays_used_when_its_user_is_gone(as_alice, bob):
    made = as_alice.post("/api/auth/admin/invites").json()
    Invite.objects.update(used_at=timezone.now(), used_by=bob)
    bob.delete()

    answer = Api().post(
        "/api/auth/register",
        {"email": "n@x.org", "password": "a long enough pass phrase", "inviteCode": made["code"]},
    )

    assert answer.status_code == 400
