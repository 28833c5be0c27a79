"""Family 5: a body changes only what its endpoint is for (CVE-2026-47102)."""

import pytest

from accounts.models import ApiKey, User
from tests.people import Api

EXTRA = {
    "id": "00000000-0000-4000-8000-000000000000",
    "role": "admin",
    "user_role": "admin",
    "status": "active",
    "provider": "oidc",
    "subject": "1",
    "is_superuser": True,
    "is_staff": True,
    "permissions": {"agents": True},
    "models_restricted": False,
    "allowed_models": ["x"],
    "email_verified_at": "2026-01-01T00:00:00Z",
    "created_at": "2000-01-01T00:00:00Z",
    "role_source": "groups",
    "must_change_password": True,
    "last_login": "2000-01-01T00:00:00Z",
}
KEPT = [
    name for name in EXTRA if name not in {"user_role", "is_superuser", "is_staff", "status", "id"}
]


def columns(user):
    row = User.objects.values().get(pk=user.pk)
    return {name: row[name] for name in KEPT}


def test_registration_takes_only_its_own(alice, settings):
    body = {**EXTRA, "email": "new@example.org", "password": "correct horse lamp"}
    assert Api().post("/api/auth/register", body).json().get("pending") is True

    made = User.objects.get(email="new@example.org")

    assert (made.role, made.status, made.provider, made.subject) == (
        "user",
        "pending",
        "local",
        None,
    )
    assert (made.permissions, made.allowed_models, made.email_verified_at) == ({}, [], None)
    assert str(made.pk) != EXTRA["id"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/api/auth/profile", {"name": "bob"}),
        ("PUT", "/api/auth/password", {"current_password": "x", "new_password": "y"}),
        ("POST", "/api/auth/api-keys", {"name": "k"}),
        ("POST", "/api/auth/login", {"email": "bob@example.org", "password": "wrong"}),
    ],
)
def test_ones_own_endpoints_change_no_rights(as_bob, bob, method, path, body):
    before = columns(bob)

    as_bob(method, path, {**EXTRA, **body})

    assert columns(bob) == before


def test_cve_2026_47101_a_key_is_made_with_nothing_of_the_bodys_rights(as_bob, bob):
    body = {**EXTRA, "name": "k", "allowed_routes": ["/*"], "scopes": ["admin"], "key": "lai-mine"}
    made = as_bob.post("/api/auth/api-keys", body).json()

    key = ApiKey.objects.get()

    assert (made["role"], key.role, key.user_id) == ("user", "user", bob.pk)
    assert made["key"] != "lai-mine"
    assert Api(key=made["key"]).get("/api/auth/admin/users").status_code == 403


def test_ghsa_69x8_no_answer_holds_a_hash_and_a_hash_is_no_password(as_alice, as_bob, bob):
    stored = User.objects.get(pk=bob.pk).password
    for api, path in ((as_alice, "/api/auth/admin/users"), (as_bob, "/api/auth/me")):
        assert stored not in api.get(path).content.decode()
        assert "argon2" not in api.get(path).content.decode()

    assert Api().post("/api/auth/login", {"email": bob.email, "password": stored}).status_code in {
        400,
        401,
    }
