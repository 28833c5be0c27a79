"""Family 10: sessions and tokens die with what gave them life (CVE-2026-12772)."""

import pytest

from accounts.models import ApiKey, User
from tests.people import PASSWORD, Api, sign_in

NEW = "a wholly different phrase"


@pytest.fixture
def credentials(bob, make_key):
    """A session, a key, a session made from the key, and the session as Bearer."""
    key, secret = make_key(bob)
    browser, from_key = sign_in(bob), Api()
    assert from_key.post("/api/auth/token-login", {"token": secret}).status_code == 200
    return {
        "session": browser,
        "bearer": Api(key=browser.client.cookies["session"].value),
        "key": Api(key=secret),
        "from_key": from_key,
        "key_id": key.pk,
    }


def alive(credentials):
    names = ("session", "bearer", "key", "from_key")
    return {n for n in names if credentials[n].get("/api/auth/me").status_code == 200}


ALL = {"session", "bearer", "key", "from_key"}


@pytest.mark.parametrize(
    ("what", "left"),
    [
        ("logout", {"key", "from_key"}),
        ("disable", set()),
        ("delete", set()),
        ("password", {"key"}),
        ("reset", {"key"}),
        ("revoke_key", {"session", "bearer"}),
        ("expire_key", {"session", "bearer"}),
        ("end_session", {"key", "from_key"}),
        ("role", ALL),
    ],
)
def test_what_is_left_after(credentials, as_alice, bob, what, left):
    assert alive(credentials) == ALL
    users = f"/api/auth/admin/users/{bob.pk}"
    body = {"current_password": PASSWORD, "new_password": NEW}
    if what == "logout":
        credentials["bearer"].post("/api/auth/logout")
    elif what == "disable":
        as_alice.put(f"{users}/status", {"status": "disabled"})
    elif what == "delete":
        as_alice.delete(users)
    elif what == "password":
        sign_in(bob).put("/api/auth/password", body)
    elif what == "reset":
        as_alice.put(f"{users}/password", {"password": NEW})
    elif what == "revoke_key":
        credentials["session"].delete(f"/api/auth/api-keys/{credentials['key_id']}")
    elif what == "expire_key":
        ApiKey.objects.update(expires_at="2020-01-01T00:00:00Z")
    elif what == "end_session":
        mine = credentials["session"].get("/api/auth/sessions").json()["sessions"]
        current = next(s["id"] for s in mine if s["current"])
        credentials["session"].delete(f"/api/auth/sessions/{current}")
    else:
        as_alice.put(f"{users}/role", {"role": "admin"})

    assert alive(credentials) == left


def test_w07_a_session_made_from_a_key_ends_with_it(credentials):
    credentials["session"].delete(f"/api/auth/api-keys/{credentials['key_id']}")

    assert credentials["from_key"].get("/api/auth/me").status_code == 401


def test_a_demoted_admins_key_is_a_users_key_at_once_c10(as_alice, bob, make_key):
    User.objects.filter(pk=bob.pk).update(role="admin")
    _, secret = make_key(bob)
    assert Api(key=secret).get("/api/auth/admin/users").status_code == 200

    as_alice.put(f"/api/auth/admin/users/{bob.pk}/role", {"role": "user"})

    assert Api(key=secret).get("/api/auth/admin/users").status_code == 403
