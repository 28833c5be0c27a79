"""E-06, E-17 to E-19: who there is, and what an admin changes."""

import pytest

from accounts.models import Role, Status, User
from tests.people import Api, sign_in


def test_e06_me(as_bob, bob):
    body = as_bob.get("/api/auth/me").json()

    assert body["id"] == str(bob.pk)
    assert body["quotas"] == []
    assert set(body) == {
        "id",
        "email",
        "name",
        "avatarUrl",
        "role",
        "provider",
        "permissions",
        "quotas",
    }


def test_e17_lists_everybody_oldest_first_without_secrets_in_a_fixed_number_of_queries(
    as_alice, bob, make_user, django_assert_num_queries
):
    with django_assert_num_queries(4):
        first = as_alice.get("/api/auth/admin/users").json()["users"]
    for i in range(5):
        make_user(f"more{i}@example.org")
    with django_assert_num_queries(4):
        second = as_alice.get("/api/auth/admin/users")

    assert [user["email"] for user in first] == ["alice@example.org", "bob@example.org"]
    assert len(second.json()["users"]) == 7
    assert b"argon2" not in second.content
    assert "subject" not in first[0]


def test_e18_a_new_role_counts_from_the_next_request(as_alice, as_bob, bob):
    url = f"/api/auth/admin/users/{bob.pk}/role"

    assert as_bob.get("/api/auth/admin/users").status_code == 403
    assert as_alice.put(url, {"role": "admin"}).json() == {"message": "role updated"}
    assert as_bob.get("/api/auth/admin/users").status_code == 200


def test_e19_disabling_blocks_at_once_and_enabling_revives(as_alice, as_bob, bob, make_key):
    _, secret = make_key(bob)
    url = f"/api/auth/admin/users/{bob.pk}/status"

    assert as_alice.put(url, {"status": "disabled"}).json() == {"message": "status updated"}
    assert as_bob.get("/api/auth/me").status_code == 401
    assert Api(key=secret).get("/api/auth/me").status_code == 401
    as_alice.put(url, {"status": "active"})
    assert as_bob.get("/api/auth/me").status_code == 200


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("role", {"role": "root"}),
        ("role", {}),
        ("role", {"role": ["admin"]}),
        ("status", {"status": "pending"}),
        ("status", {"status": None}),
    ],
)
def test_e18_e19_other_values_are_400(as_alice, bob, what, body):
    answer = as_alice.put(f"/api/auth/admin/users/{bob.pk}/{what}", body)

    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"{what} must be")


def test_e18_e19_not_on_oneself_and_not_on_nobody(as_alice, alice):
    nobody = "00000000-0000-4000-8000-000000000000"

    own = as_alice.put(f"/api/auth/admin/users/{alice.pk}/role", {"role": "user"})
    assert own.json() == {"error": "cannot change your own role"}
    own = as_alice.put(f"/api/auth/admin/users/{alice.pk}/status", {"status": "disabled"})
    assert own.json() == {"error": "cannot change your own status"}
    gone = as_alice.put(f"/api/auth/admin/users/{nobody}/role", {"role": "user"})
    assert (gone.status_code, gone.json()) == (404, {"error": "user not found"})


def test_s08_the_last_active_admin_stays(alice):
    legacy = Api(key="legacy-key-one")

    for what, body in (("role", {"role": "user"}), ("status", {"status": "disabled"})):
        answer = legacy.put(f"/api/auth/admin/users/{alice.pk}/{what}", body)
        assert answer.status_code == 400
    alice.refresh_from_db()
    assert (alice.role, alice.status) == (Role.ADMIN, Status.ACTIVE)


def test_djangos_admin_site_is_for_admins_with_a_session(
    as_alice, as_bob, anonymous, bob, make_key
):
    pages = [
        "/admin/",
        "/admin/accounts/user/",
        "/admin/accounts/apikey/",
        "/admin/accounts/invite/",
    ]
    key, _ = make_key(bob)

    for page in pages:
        assert as_alice.get(page, accept="text/html").status_code == 200
        assert as_bob.get(page).status_code == 302
        assert anonymous.get(page).headers["location"].startswith("/login?next=")
    shown = as_alice.get(f"/admin/accounts/apikey/{key.pk}/change/").content.decode()
    assert key.digest not in shown
    assert key.prefix in shown


def test_djangos_admin_site_approves_disables_and_changes_roles(as_alice, make_user):
    late = make_user("late@example.org", status="pending")

    def act(action):
        data = {"action": action, "_selected_action": [str(late.pk)]}
        assert as_alice.client.post("/admin/accounts/user/", data).status_code == 302
        late.refresh_from_db()

    act("approve")
    assert late.status == Status.ACTIVE
    session = sign_in(late)
    act("make_admin")
    assert late.role == Role.ADMIN
    act("disable")
    assert session.get("/api/auth/me").status_code == 401


def test_djangos_admin_site_leaves_the_last_admin(as_alice, alice):
    data = {"action": "disable", "_selected_action": [str(alice.pk)]}
    as_alice.client.post("/admin/accounts/user/", data)

    alice.refresh_from_db()
    assert alice.status == Status.ACTIVE


def test_createsuperuser_makes_an_active_admin(db, monkeypatch):
    from django.core.management import call_command

    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "a long enough pass phrase")
    call_command("createsuperuser", email="Root@Example.org", interactive=False, verbosity=0)

    user = User.objects.get()
    assert (user.email, user.role, user.status) == ("root@example.org", Role.ADMIN, Status.ACTIVE)
    assert user.check_password("a long enough pass phrase")


def test_r40_declining_deletes_who_waits_and_leaves_a_record(as_alice, make_user):
    waits = make_user("w@example.org", status="pending")

    answer = as_alice.post(f"/api/auth/admin/users/{waits.pk}/decline")

    assert (answer.status_code, answer.json()) == (200, {"message": "user declined"})
    assert not User.objects.filter(pk=waits.pk).exists()
    (record,) = as_alice.get("/api/auth/admin/audit?action=user_declined").json()["records"]
    assert record["subject"] == {"id": str(waits.pk), "name": "w@example.org"}
    assert record["actor"]["name"] == "alice@example.org"
    again = as_alice.post(f"/api/auth/admin/users/{waits.pk}/decline")
    assert again.status_code == 404


def test_r40_who_does_not_wait_cannot_be_declined(as_alice, as_bob, bob, alice, make_user):
    gone = make_user("d@example.org", status="disabled")

    for user in (bob, alice, gone):
        refused = as_alice.post(f"/api/auth/admin/users/{user.pk}/decline")
        assert (refused.status_code, refused.json()) == (
            400,
            {"error": "this account does not wait for approval"},
        )
    assert as_bob.post(f"/api/auth/admin/users/{gone.pk}/decline").status_code == 403
    assert User.objects.count() == 3


def test_r29_e17_says_when_people_were_here_last(as_alice, alice, bob, make_key, make_user):
    make_user("never@example.org")
    key, secret = make_key(bob)
    assert Api(key=secret).get("/api/auth/me").status_code == 200

    for query in ("", "?limit=10"):
        users = as_alice.get(f"/api/auth/admin/users{query}").json()["users"]
        seen = {user["email"]: user["lastSeen"] for user in users}
        key.refresh_from_db()
        assert seen["bob@example.org"] == key.last_used_at.isoformat().replace("+00:00", "Z")
        assert seen["alice@example.org"] is not None
        assert seen["never@example.org"] is None
