"""E-01 to E-05: status, registration, sign-in, sign-in by token, sign-out."""

import pytest

from accounts.models import Invite, Role, Status, User
from accounts.runtime import forget_auth_mode
from core.errors import REASONS
from tests.people import PASSWORD, Api, sign_in

GOOD = "a long enough pass phrase"


def register(api, email="new@example.org", password=GOOD, **more):
    return api.post("/api/auth/register", {"email": email, "password": password, **more})


@pytest.fixture
def mode(settings):
    def choose(name):
        settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"registration_mode": name})

    return choose


def test_e01_status_for_nobody(anonymous):
    assert anonymous.get("/api/auth/status").json() == {
        "authEnabled": True,
        "staticApiKeyRequired": False,
        "providers": ["local"],
        "hasUsers": False,
        "registrationMode": "approval",
        "user": None,
    }


def test_e01_status_for_somebody_lists_effective_permissions(as_bob, bob):
    user = as_bob.get("/api/auth/status").json()["user"]

    assert user["id"] == str(bob.pk)
    assert user["permissions"]["chat"] is True
    assert user["permissions"]["agents"] is False
    assert len(user["permissions"]) >= 20


def test_e01_status_for_the_legacy_key():
    user = Api(key="legacy-key-one").get("/api/auth/status").json()["user"]

    assert (user["id"], user["name"], user["role"]) == ("legacy-api-key", "API Key User", "admin")


test_e01_status_for_the_legacy_key = pytest.mark.django_db(test_e01_status_for_the_legacy_key)


def test_reg01_the_first_user_is_admin_whatever_the_mode(anonymous, mode):
    mode("invite")

    answer = register(anonymous, email=" Boss@Example.ORG ")

    assert answer.status_code == 201
    assert answer.json()["user"]["email"] == "boss@example.org"
    assert answer.json()["user"]["role"] == "admin"
    assert anonymous.get("/api/auth/me").status_code == 200


def test_e02_approval_leaves_the_new_account_pending_without_a_session(alice, mode):
    api = Api()

    answer = register(api)

    assert answer.status_code == 200
    assert answer.json() == {
        "message": "registration successful, awaiting admin approval",
        "pending": True,
    }
    assert "session" not in answer.cookies
    assert User.objects.get(email="new@example.org").status == Status.PENDING


def test_e02_open_mode_ignores_an_invite_code(alice, mode):
    mode("open")

    answer = register(Api(), inviteCode="nonsense")

    assert answer.status_code == 201
    assert answer.json()["user"]["role"] == "user"


def test_e02_invite_mode_wants_a_good_code_and_uses_it_up(as_alice, mode):
    mode("invite")
    code = as_alice.post("/api/auth/admin/invites").json()["code"]

    without, bad = register(Api()), register(Api(), inviteCode="f" * 64)
    first, second = (
        register(Api(), inviteCode=code),
        register(Api(), "two@example.org", inviteCode=code),
    )

    assert (without.status_code, without.json()["error"]) == (
        400,
        "an invite code is required to register",
    )
    assert (bad.status_code, bad.json()["error"]) == (400, "invalid or expired invite code")
    assert first.status_code == 201
    assert second.status_code == 400
    assert not User.objects.filter(email="two@example.org").exists()


def test_c09_an_invite_activates_at_once_in_approval_mode(as_alice):
    code = as_alice.post("/api/auth/admin/invites").json()["code"]

    assert register(Api(), inviteCode=code).status_code == 201


@pytest.mark.parametrize(("name", "status"), [("approval", 200), ("open", 201), ("invite", 201)])
def test_s33_a_taken_address_changes_nothing_and_uses_no_invite(as_alice, bob, mode, name, status):
    mode(name)
    code = as_alice.post("/api/auth/admin/invites").json()["code"] if name == "invite" else ""

    answer = register(Api(), email=bob.email, inviteCode=code)

    assert answer.status_code == status
    assert "user" not in answer.json()
    assert "session" not in answer.cookies
    assert User.objects.filter(email=bob.email).count() == 1
    assert not Invite.objects.filter(used_at__isnull=False).exists()


@pytest.mark.parametrize(
    ("password", "code", "overridable"),
    [
        ("", "password_empty", False),
        ("é" * 37, "password_too_long", False),
        ("long enough but \0 inside", "password_null_byte", False),
        ("kz9$Qm2!", "password_too_short", True),
        ("short", "password_too_short", False),
        ("password1234", "password_too_weak", True),
        ("new@example.org", "password_too_weak", True),
    ],
)
def test_c07_password_rules(alice, password, code, overridable):
    answer = register(Api(), password=password)

    assert answer.status_code == 400
    assert answer.json()["error_code"] == code
    assert answer.json()["overridable"] is overridable


def test_s36_a_weak_password_may_be_insisted_on_but_not_below_eight_and_not_by_an_admin(anonymous):
    first = register(anonymous, password="password1234", acknowledge_weak_password=True)
    assert first.status_code == 400
    register(anonymous)

    assert (
        register(Api(), "a@b.org", "password12", acknowledge_weak_password=True).status_code == 200
    )
    assert register(Api(), "c@d.org", "pass12", acknowledge_weak_password=True).status_code == 400


@pytest.mark.parametrize(
    "email",
    [
        "",
        "x",
        "Name <a@b.org>",
        "a@b.org, c@d.org",
        "a b@c.org",
        "@b.org",
        "a@" + "b" * 300 + ".org",
    ],
)
def test_w20_what_is_no_plain_address_is_refused(alice, email):
    assert register(Api(), email=email).status_code == 400


def test_w01_the_admin_address_alone_makes_nobody_admin(alice, settings):
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(
        update={"registration_mode": "open", "admin_email": "new@example.org"}
    )

    assert register(Api()).json()["user"]["role"] == "user"


@pytest.mark.parametrize("field", ["role", "status", "provider", "is_superuser", "id"])
def test_registration_takes_no_other_fields(alice, field):
    register(Api(), **{field: "admin"})

    user = User.objects.get(email="new@example.org")
    assert (user.role, user.status, user.provider) == (Role.USER, Status.PENDING, "local")


def test_e03_w21_wrong_password_and_unknown_address_say_the_same(bob):
    wrong = Api().post("/api/auth/login", {"email": bob.email, "password": "nope"})
    unknown = Api().post("/api/auth/login", {"email": "x@y.org", "password": "nope"})

    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() == unknown.json() == {"error": "invalid email or password"}


def test_e03_sign_in_sets_the_contracts_cookie(bob):
    answer = Api().post("/api/auth/login", {"email": " BOB@example.org", "password": PASSWORD})

    assert answer.status_code == 200
    assert answer.json()["user"] == {
        "id": str(bob.pk),
        "email": "bob@example.org",
        "name": "bob",
        "role": "user",
    }
    cookie = answer.cookies["session"]
    assert (cookie["max-age"], cookie["httponly"], cookie["samesite"], cookie["path"]) == (
        2592000,
        True,
        "Lax",
        "/",
    )


@pytest.mark.parametrize(
    ("status", "message"),
    [("pending", "account pending admin approval"), ("disabled", "account disabled")],
)
def test_w05_who_is_not_active_gets_403_after_the_right_password_and_no_cookie(
    make_user, status, message
):
    user = make_user("late@example.org", status=status)

    right = Api().post("/api/auth/login", {"email": user.email, "password": PASSWORD})
    wrong = Api().post("/api/auth/login", {"email": user.email, "password": "x"})

    assert (right.status_code, right.json()) == (403, {"error": message})
    assert "session" not in right.cookies
    assert wrong.status_code == 401


def test_the_stored_hash_is_no_password(bob):
    answer = Api().post("/api/auth/login", {"email": bob.email, "password": bob.password})

    assert answer.status_code == 401


def test_e04_a_key_gives_a_session_that_ends_with_the_key(bob, make_key):
    key, secret = make_key(bob)
    api = Api()

    answer = api.post("/api/auth/token-login", {"token": f" {secret} "})
    assert answer.status_code == 200
    assert answer.json()["user"]["id"] == str(bob.pk)
    assert api.get("/api/auth/me").status_code == 200
    assert api.post("/api/auth/api-keys", {"name": "more"}).status_code == 403

    sign_in(bob).delete(f"/api/auth/api-keys/{key.pk}")
    assert api.get("/api/auth/me").status_code == 401


def test_s41_w19_a_legacy_key_gives_a_session_and_never_becomes_a_cookie(anonymous):
    answer = anonymous.post("/api/auth/token-login", {"token": "legacy-key-two"})

    assert answer.json() == {
        "user": {"id": "legacy-api-key", "name": "API Key User", "role": "admin"}
    }
    assert "token" not in answer.cookies
    assert "legacy-key-two" not in answer.cookies["session"].value
    assert anonymous.get("/api/auth/admin/users").status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 400), ({"token": "  "}, 400), ({"token": "lai-x"}, 401), ({"token": 5}, 400)],
)
def test_e04_refusals(anonymous, body, status):
    assert anonymous.post("/api/auth/token-login", body).status_code == status


def test_e05_sign_out_ends_the_session_at_once(as_bob):
    stolen = as_bob.client.cookies["session"].value

    assert as_bob.post("/api/auth/logout").json() == {"message": "logged out"}

    other = Api(key=stolen)
    assert other.get("/api/auth/me").status_code == 401
    assert as_bob.post("/api/auth/logout").status_code == 401


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"null", b'"x"', b"\xff", b'{"email": 5}', b'{"email": "\\ud800"}']
)
def test_g02_a_malformed_body_is_a_flat_400(alice, body):
    answer = Api()("POST", "/api/auth/login", body)

    assert answer.status_code == 400
    assert answer.json() == {"error": "invalid request"}


def test_g02_another_content_type_is_not_read(alice):
    answer = Api().client.post("/api/auth/login", {"email": "a@b.org", "password": "x"})

    assert (answer.status_code, answer.json()) == (400, {"error": "invalid request"})


def test_g03_a_trailing_slash_is_the_same_address(anonymous):
    assert anonymous.get("/api/auth/status/").status_code == 200


def test_gate_refusals_carry_a_reason_of_the_closed_list(anonymous, as_bob):
    for answer in (anonymous.get("/api/auth/me"), as_bob.get("/api/auth/admin/users")):
        assert answer.json()["error"]["reason"] in REASONS


def test_unknown_paths_are_401_for_anonymous_and_404_for_others(anonymous, as_bob):
    assert anonymous.get("/api/unknown").status_code == 401
    assert as_bob.get("/api/unknown").json()["error"]["message"] == "Resource not found"
    assert as_bob("PATCH", "/api/auth/me").status_code == 405


def test_without_local_accounts_neither_door_registers_or_signs_in(bob, settings):
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"disable_local_auth": True})

    assert register(Api()).json() == {"error": "local registration is disabled"}
    assert (
        Api().post("/api/auth/login", {"email": bob.email, "password": PASSWORD}).status_code == 403
    )
    data = {"email": "n@x.org", "password": GOOD, "password2": GOOD}
    assert Api().client.post("/register", data).status_code == 422
    assert not User.objects.filter(email__in=["n@x.org", "new@example.org"]).exists()


def test_with_legacy_keys_alone_a_token_signs_a_browser_in(db, settings):
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"auth": False})
    forget_auth_mode()
    try:
        api = Api()
        assert api.get("/app").status_code == 302
        assert api.post("/api/auth/token-login", {"token": "legacy-key-one"}).status_code == 200
        assert api.get("/app").status_code == 200
        assert api.get("/api/auth/status").json()["staticApiKeyRequired"] is True
    finally:
        forget_auth_mode()
