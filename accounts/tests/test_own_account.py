"""E-08 to E-10 and the sessions of S-25: what people change about their own account."""

import pytest

from accounts.models import AuditRecord, Session, User
from tests.people import PASSWORD, Api, sign_in

NEW = "a wholly different phrase"


def test_e08_only_name_and_avatar_change_whatever_the_body_says(as_bob, bob):
    body = {
        "name": "  Bobby ",
        "avatar_url": "https://example.org/b.png",
        "role": "admin",
        "email": "x@example.org",
        "status": "disabled",
        "provider": "oidc",
        "id": "1",
        "password": "x",
        "permissions": {},
        "models_restricted": True,
    }

    answer = as_bob.put("/api/auth/profile", body)

    assert answer.json() == {
        "message": "profile updated",
        "name": "Bobby",
        "avatarUrl": "https://example.org/b.png",
    }
    after = User.objects.get(pk=bob.pk)
    assert (after.role, after.email, after.status, after.provider) == (
        "user",
        bob.email,
        "active",
        "local",
    )
    assert after.check_password(PASSWORD)
    assert as_bob.get("/api/auth/me").json()["name"] == "Bobby"
    assert as_bob.put("/api/auth/profile", {"name": "B"}).json()["avatarUrl"] == ""


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "invalid request"),
        ({"name": "  "}, "name is required"),
        ({"name": "x" * 101}, "at most 100 characters"),
        ({"name": "x", "avatar_url": "https://e/" + "x" * 512}, "at most 512 characters"),
        ({"name": "x", "avatar_url": "javascript:alert(1)"}, "http or https"),
        ({"name": "x", "avatar_url": "https://[bad"}, "not valid"),
    ],
)
def test_e08_and_w20_what_is_refused(as_bob, body, words):
    answer = as_bob.put("/api/auth/profile", body)

    assert answer.status_code == 400
    assert words in answer.json()["error"]


def test_e09_a_new_password_ends_every_session_and_makes_one(as_bob, bob, make_key):
    """S-06: keys survive."""
    elsewhere, (_, secret) = sign_in(bob), make_key(bob)

    answer = as_bob.put("/api/auth/password", {"current_password": PASSWORD, "new_password": NEW})

    assert (answer.status_code, answer.json()) == (200, {"message": "password updated"})
    assert as_bob.get("/api/auth/me").status_code == 200
    assert elsewhere.get("/api/auth/me").status_code == 401
    assert Api(key=secret).get("/api/auth/me").status_code == 200
    assert Session.objects.filter(user=bob).count() == 1
    old = Api().post("/api/auth/login", {"email": bob.email, "password": PASSWORD})
    assert old.status_code == 401


def test_s06_and_w08_keys_end_with_the_password_where_that_is_asked_for(as_bob, bob, make_key):
    _, secret = make_key(bob)
    body = {"current_password": PASSWORD, "new_password": NEW, "revoke_api_keys": True}

    assert as_bob.put("/api/auth/password", body).status_code == 200
    assert Api(key=secret).get("/api/auth/me").status_code == 401


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        (("", NEW), 400, "current and new passwords are required"),
        ((PASSWORD, "short"), 400, "at least 12 characters"),
        ((PASSWORD, "x" * 80), 400, "72 bytes"),
        (("wrong", NEW), 401, "current password is incorrect"),
    ],
)
def test_e09_what_is_refused(as_bob, bob, given, status, words):
    current, new = given
    answer = as_bob.put("/api/auth/password", {"current_password": current, "new_password": new})

    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert User.objects.get(pk=bob.pk).check_password(PASSWORD)


def test_e09_is_for_local_accounts(as_bob, bob):
    User.objects.filter(pk=bob.pk).update(provider="github", subject="1")

    answer = as_bob.put("/api/auth/password", {"current_password": "x", "new_password": NEW})

    assert answer.json() == {"error": "password change is only available for local accounts"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/api/auth/profile"),
        ("PUT", "/api/auth/password"),
        ("GET", "/api/auth/sessions"),
        ("DELETE", "/api/auth/sessions"),
    ],
)
def test_c11_s07_and_s28_neither_a_key_nor_a_session_made_from_one_may(
    bob, make_key, settings, method, path
):
    _, secret = make_key(bob)
    from_key = Api()
    from_key.post("/api/auth/token-login", {"token": secret})

    for caller in (Api(key=secret), from_key):
        assert caller(method, path, {}).status_code == 403
    assert Api()(method, path, {}).status_code == 401


def test_s25_the_list_of_ones_own_sessions(bob, mallory):
    here, there = sign_in(bob), Api()
    there.post(
        "/api/auth/login",
        {"email": bob.email, "password": PASSWORD},
        User_Agent="Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    )
    sign_in(mallory)

    found = here.get("/api/auth/sessions").json()["sessions"]

    assert [each["current"] for each in found] == [False, True]
    assert found[0]["device"] == "Firefox on Linux"
    assert found[0]["address"] == "127.0.0.1"
    keys = {row.session_key for row in Session.objects.all()}
    assert not any(key in str(found) for key in keys)


def test_s25_one_session_ends_and_only_ones_own(bob, as_mallory):
    here, there = sign_in(bob), sign_in(bob)
    mine = [s for s in here.get("/api/auth/sessions").json()["sessions"] if not s["current"]]
    path = f"/api/auth/sessions/{mine[0]['id']}"

    assert as_mallory.delete(path).status_code == 404
    assert there.get("/api/auth/me").status_code == 200
    assert here.delete(path).json() == {"message": "session revoked"}
    assert there.get("/api/auth/me").status_code == 401
    assert here.delete(path).status_code == 404


def test_e10_the_others_end_and_this_one_goes_on_under_a_new_key(bob):
    here, there = sign_in(bob), sign_in(bob)
    before = here.client.cookies["session"].value

    answer = here.delete("/api/auth/sessions")

    assert answer.json() == {"message": "all other sessions revoked"}
    assert here.client.cookies["session"].value != before
    assert here.get("/api/auth/me").status_code == 200
    assert there.get("/api/auth/me").status_code == 401
    assert Api().get("/api/auth/me", Cookie=f"session={before}").status_code == 401


def test_w17_parallel_requests_never_lose_their_session_and_its_end_does_not_move(as_bob, bob):
    """No rotation under way, so no grace window is needed; the end is fixed at sign-in."""
    ends = Session.objects.get(user=bob).expire_date
    cookie = as_bob.client.cookies["session"].value

    assert [as_bob.get("/api/auth/me").status_code for _ in range(5)] == [200] * 5
    assert as_bob.client.cookies["session"].value == cookie
    assert Session.objects.get(user=bob).expire_date == ends


def test_e05_a_bearer_session_ends_too(as_bob, bob):
    token = as_bob.client.cookies["session"].value
    bearer = Api(key=token)

    assert bearer.post("/api/auth/logout").status_code == 200
    assert as_bob.get("/api/auth/me").status_code == 401
    assert not Session.objects.filter(user=bob).exists()


def test_w29_after_an_admins_reset_a_session_may_only_set_a_new_password(as_alice, bob):
    path = f"/api/auth/admin/users/{bob.pk}/password"
    assert as_alice.put(path, {"password": NEW}).json() == {
        "message": "password reset successfully"
    }

    caller = Api()
    signed = caller.post("/api/auth/login", {"email": bob.email, "password": NEW})
    assert signed.json()["password_change_required"] is True
    assert caller.get("/api/auth/api-keys").status_code == 403
    assert caller.get("/v1/models").status_code == 403
    assert caller.get("/app", Accept="text/html").headers["location"] == "/password"
    assert caller.get("/api/auth/me").status_code == 200
    same = {"current_password": NEW, "new_password": NEW}
    assert caller.put("/api/auth/password", same).status_code == 400
    body = {"current_password": NEW, "new_password": "yet another phrase"}
    assert caller.put("/api/auth/password", body).status_code == 200
    assert caller.get("/api/auth/api-keys").status_code == 200


def test_the_page_for_a_new_password(as_bob, bob):
    form = {"current": PASSWORD, "password": NEW, "password2": NEW + "x"}
    page = as_bob.client.post("/password", form, headers={"accept": "text/html"})
    assert page.status_code == 422
    assert "The two passwords differ." in page.content.decode()

    done = as_bob.client.post("/password", {**form, "password2": NEW})
    assert (done.status_code, done.headers["location"]) == (302, "/app")
    assert User.objects.get(pk=bob.pk).check_password(NEW)


def test_w18_each_of_these_is_in_the_trail(as_bob, bob):
    as_bob.put("/api/auth/profile", {"name": "Bobby"})
    as_bob.delete("/api/auth/sessions")
    as_bob.put("/api/auth/password", {"current_password": PASSWORD, "new_password": NEW})

    found = AuditRecord.objects.filter(actor_id=str(bob.pk)).order_by("id")

    actions = [row.action for row in found]
    assert actions == [
        "sign_in",
        "profile_changed",
        "sessions_ended",
        "sign_in",
        "password_changed",
        "sign_in",
    ]
    assert found[1].before == {"name": "bob", "avatar_url": ""}
    assert found[1].after == {"name": "Bobby", "avatar_url": ""}
    assert {row.address for row in found} == {"127.0.0.1"}
