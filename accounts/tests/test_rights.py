"""E-16, E-20 to E-24: what an admin gives and takes, and that it counts at once."""

import pytest

from accounts.models import ApiKey, AuditRecord, Invite, Session, User
from tests.people import PASSWORD, Api, sign_in

NOBODY = "00000000-0000-4000-8000-000000000000"
SEED_FEATURES = {
    *("agents", "skills", "collections", "mcp_jobs", "fine_tuning", "quantization", "chat"),
    *("images", "audio_speech", "audio_transcription", "vad", "detection", "video"),
    *("embeddings", "sound", "realtime", "rerank", "tokenize", "mcp", "stores"),
}


def url(user, what=""):
    return f"/api/auth/admin/users/{getattr(user, 'pk', user)}{what}"


def test_e16_features_by_group_with_their_defaults(as_alice):
    body = as_alice.get("/api/auth/admin/features").json()

    groups = ("agent_features", "general_features", "api_features")
    assert {each["key"] for group in groups for each in body[group]} >= SEED_FEATURES
    assert {each["default"] for each in body["api_features"]} == {True}
    assert {each["default"] for each in body["agent_features"] + body["general_features"]} == {
        False
    }
    assert {"key": "chat", "label": "Chat Completions", "default": True} in body["api_features"]
    assert isinstance(body["models"], list)


def test_e20_a_reset_ends_sessions_and_keeps_keys(as_alice, as_bob, bob, make_key):
    _, secret = make_key(bob)

    assert (
        as_alice.put(url(bob, "/password"), {"password": "a fresh new phrase"}).status_code == 200
    )
    assert as_bob.get("/api/auth/me").status_code == 401
    assert not Session.objects.filter(user=bob).exists()
    assert Api(key=secret).get("/api/auth/me").status_code == 200


def test_e20_the_order_of_its_refusals(as_alice, alice, bob):
    def error(user, body):
        answer = as_alice.put(url(user, "/password"), body)
        return answer.status_code, answer.json()["error"]

    assert error(alice, {})[1].startswith("cannot reset your own password via this endpoint")
    assert error(NOBODY, b"{") == (404, "user not found")
    assert error(bob, b"{") == (400, "invalid request")
    refused = as_alice.put(url(bob, "/password"), {"password": "short"}).json()
    assert (refused["error_code"], refused["overridable"]) == ("password_too_short", False)
    User.objects.filter(pk=bob.pk).update(provider="oidc", subject="1")
    wanted = "password reset is only available for local accounts"
    assert error(bob, {"password": "a fresh new phrase"}) == (400, wanted)


def test_e21_everything_of_an_account_goes_but_its_used_invite(as_alice, as_bob, bob, make_key):
    make_key(bob)
    code = as_alice.post("/api/auth/admin/invites").json()["code"]
    body = {"email": "guest@example.org", "password": "correct horse lamp", "inviteCode": code}
    assert Api().post("/api/auth/register", body).status_code == 201
    guest = User.objects.get(email="guest@example.org")

    assert as_alice.delete(url(bob)).json() == {"message": "user deleted"}
    assert as_alice.delete(url(guest)).status_code == 200

    assert as_bob.get("/api/auth/me").status_code == 401
    assert not ApiKey.objects.exists()
    invite = Invite.objects.get()
    assert (invite.used_by, invite.used_at is not None) == (None, True)
    again = {**body, "email": "other@example.org"}
    refused = Api().post("/api/auth/register", again)
    assert refused.json()["error"] == "invalid or expired invite code"  # W-04


def test_e21_refusals(as_alice, alice, bob):
    assert as_alice.delete(url(alice)).json() == {"error": "cannot delete yourself"}
    assert as_alice.delete(url(NOBODY)).status_code == 404


def test_s08_the_last_admin_is_not_deleted_by_a_legacy_key(alice, bob, settings):
    """W-30: the synthetic admin's guards compare ids, so the rule has to be the account's."""
    from accounts import people
    from accounts.audit import CLI
    from core.errors import InvalidRequestError

    with pytest.raises(InvalidRequestError):
        people.delete(alice.pk, by=CLI)
    assert User.objects.filter(pk=alice.pk).exists()


def test_e22_and_e23_the_map_is_replaced_and_effective_at_once(as_alice, as_bob, bob, make_key):
    _, secret = make_key(bob)
    key = Api(key=secret)

    answer = as_alice.put(url(bob, "/permissions"), {"tokenize": False, "agents": True}).json()

    assert answer == {
        "message": "permissions updated",
        "user_id": str(bob.pk),
        "permissions": {"tokenize": False, "agents": True},
    }
    for caller in (as_bob, key):
        refused = caller.post("/v1/tokenize", {"model": "m", "content": "x"})
        assert refused.status_code == 403
        error = refused.json()["error"]
        assert error["message"] == "feature not enabled for your account: tokenize"
        assert error["reason"] == "feature_disabled"
    effective = as_alice.get(url(bob, "/permissions")).json()["permissions"]
    assert (effective["tokenize"], effective["agents"], effective["chat"]) == (False, True, True)
    assert as_bob.get("/api/auth/me").json()["permissions"] == effective

    as_alice.put(url(bob, "/permissions"), {})
    assert as_bob.get("/api/auth/me").json()["permissions"]["tokenize"] is True


@pytest.mark.parametrize("body", [b"[]", b'"x"', {"chat": "yes"}, {"chat": None}, {"flying": True}])
def test_e23_and_s21_what_is_refused(as_alice, bob, body):
    assert as_alice.put(url(bob, "/permissions"), body).status_code == 400
    assert User.objects.get(pk=bob.pk).permissions == {}


def test_e22_to_e24_unknown_people_are_404(as_alice):
    assert as_alice.get(url(NOBODY, "/permissions")).status_code == 404
    assert as_alice.put(url(NOBODY, "/permissions"), {}).status_code == 404
    assert as_alice.put(url(NOBODY, "/models"), {"enabled": True}).status_code == 404


def test_e24_the_allow_list_is_replaced_and_shown_in_e17(as_alice, bob):
    body = {"enabled": True, "models": ["m", "n", "m"]}

    answer = as_alice.put(url(bob, "/models"), body).json()

    assert answer["allowed_models"] == {"enabled": True, "models": ["m", "n"]}
    listed = as_alice.get("/api/auth/admin/users").json()["users"]
    assert listed[1]["allowed_models"] == {"enabled": True, "models": ["m", "n"]}
    as_alice.put(url(bob, "/models"), {"enabled": False})
    listed = as_alice.get("/api/auth/admin/users").json()["users"]
    assert listed[1]["allowed_models"] == {"enabled": False}


@pytest.mark.parametrize(
    "body", [b"[]", {"enabled": 1}, {"models": "m"}, {"models": [1]}, {"models": [""]}]
)
def test_e24_what_is_refused(as_alice, bob, body):
    answer = as_alice.put(url(bob, "/models"), body)

    assert (answer.status_code, answer.json()) == (400, {"error": "invalid request body"})


def test_w26_a_get_writes_nothing(as_alice, bob, django_assert_num_queries):
    with django_assert_num_queries(4) as queries:
        as_alice.get("/api/auth/admin/users")

    assert all(q["sql"].startswith("SELECT") for q in queries.captured_queries)


def test_w18_every_change_of_rights_is_in_the_trail_with_before_and_after(as_alice, alice, bob):
    as_alice.put(url(bob, "/role"), {"role": "admin"})
    as_alice.put(url(bob, "/status"), {"status": "disabled"})
    as_alice.put(url(bob, "/permissions"), {"chat": False})
    as_alice.put(url(bob, "/models"), {"enabled": True, "models": ["m"]})
    as_alice.put(url(bob, "/password"), {"password": "one more new phrase"})
    as_alice.delete(url(bob))

    rows = AuditRecord.objects.filter(subject_id=str(bob.pk)).order_by("id")

    assert [(row.action, row.before, row.after) for row in rows] == [
        ("role_changed", {"role": "user"}, {"role": "admin"}),
        ("status_changed", {"status": "active"}, {"status": "disabled"}),
        ("permissions_changed", {"permissions": {}}, {"permissions": {"chat": False}}),
        (
            "models_changed",
            {"models_restricted": False, "allowed_models": []},
            {"models_restricted": True, "allowed_models": ["m"]},
        ),
        ("password_reset_by_admin", None, None),
        ("user_deleted", {"role": "admin", "status": "disabled"}, None),
    ]
    assert {row.actor_id for row in rows} == {str(alice.pk)}


def test_e37_the_invite_check_says_only_yes_or_no(as_alice):
    made = as_alice.post("/api/auth/admin/invites").json()

    def check(code):
        return Api().get(f"/api/auth/invite/{code}/check").json()

    assert check(made["code"]) == {"valid": True}
    assert check("f" * 64) == check("x") == {"valid": False}
    as_alice.delete(f"/api/auth/admin/invites/{made['id']}")
    assert check(made["code"]) == {"valid": False}


def test_e37_has_a_counter_of_its_own_s10(anonymous, limited):
    limited(auth_rate_limit="5/m")

    answers = [anonymous.get("/api/auth/invite/x/check") for _ in range(61)]

    assert [answer.status_code for answer in answers] == [200] * 60 + [429]
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_sign_in_again_after_being_enabled(as_alice, bob):
    as_alice.put(url(bob, "/status"), {"status": "disabled"})
    refused = Api().post("/api/auth/login", {"email": bob.email, "password": PASSWORD})
    assert (refused.status_code, refused.json()) == (403, {"error": "account disabled"})  # W-05
    as_alice.put(url(bob, "/status"), {"status": "active"})
    assert sign_in(bob).get("/api/auth/me").status_code == 200
