"""Family 4: nobody reaches another's objects by an id, in a path or in a body (GHSA-qqcv, CVE-2026-45349)."""

import pytest

from accounts.models import Session
from tests.people import sign_in


@pytest.fixture
def bobs(bob, make_key):
    """Ids of what bob owns."""
    browser = sign_in(bob)
    key, _ = make_key(bob)
    return {"key": key.pk, "session": Session.objects.get(user=bob).public_id, "browser": browser}


def test_another_ones_key_cannot_be_seen_or_revoked(as_mallory, bobs):
    assert as_mallory.delete(f"/api/auth/api-keys/{bobs['key']}").status_code == 404
    assert as_mallory.get("/api/auth/api-keys").json() == {"keys": []}
    assert len(bobs["browser"].get("/api/auth/api-keys").json()["keys"]) == 1


def test_an_admin_cannot_revoke_anothers_key_by_the_users_endpoint(as_alice, bobs):
    assert as_alice.delete(f"/api/auth/api-keys/{bobs['key']}").status_code == 404


def test_another_ones_session_cannot_be_seen_or_ended(as_mallory, bobs):
    shown = as_mallory.get("/api/auth/sessions").json()["sessions"]
    assert str(bobs["session"]) not in str(shown)
    assert as_mallory.delete(f"/api/auth/sessions/{bobs['session']}").status_code == 404
    assert bobs["browser"].get("/api/auth/me").status_code == 200


@pytest.mark.parametrize("what", ["role", "status", "password", "permissions", "models"])
def test_no_users_endpoint_takes_another_ones_id(as_mallory, bob, what):
    path = f"/api/auth/admin/users/{bob.pk}/{what}"
    body = {"role": "admin", "status": "active", "password": "x", "enabled": True}

    assert as_mallory.put(path, body).status_code == 403


def test_a_user_id_in_a_query_or_body_changes_nothing(as_mallory, bob):
    as_mallory.put(
        "/api/auth/profile", {"name": "Hacked", "id": str(bob.pk), "user_id": str(bob.pk)}
    )
    bob.refresh_from_db()
    assert bob.name == "bob"
    made = as_mallory.post(
        "/api/auth/api-keys", {"name": "k", "user_id": str(bob.pk), "user": str(bob.pk)}
    )
    assert made.status_code == 201
    assert bob.api_keys.count() == 0
    used = as_mallory.get(f"/api/auth/usage?user_id={bob.pk}").json()
    assert used["usage"] == []
