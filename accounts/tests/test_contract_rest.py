"""Rows of the contract that no other module is about."""

import time
import uuid

import pytest
from django.contrib.auth.hashers import get_hasher
from django.db import OperationalError

from accounts import runtime
from accounts.gate import GATE
from accounts.models import Session, User
from tests.people import PASSWORD, Api, sign_in

# The inference routes by name: accounts knows nothing of the app that serves them.
INFERENCE = {
    *("chat-completions", "completions", "messages", "responses", "messages-count-tokens"),
    *("embeddings", "tokenize", "detokenize", "models", "model", "response", "response-cancel"),
}


def test_tok02_header_names_are_read_in_any_case_and_basic_is_nothing(bob, make_key):
    _, secret = make_key(bob)

    for name in ("X-API-KEY", "x-api-key", "X-Api-Key"):
        assert Api().get("/api/auth/me", **{name: secret}).status_code == 200
    assert Api().get("/api/auth/me", Authorization=f"Basic {secret}").status_code == 401


def test_tok05_a_dead_session_cookie_is_not_cleared(as_bob, bob):
    Session.objects.filter(user=bob).delete()

    answer = as_bob.get("/api/auth/me")

    assert answer.status_code == 401
    assert "session" not in answer.cookies


def test_w10_every_inference_route_has_a_feature_or_is_a_list():
    lines = {name: line for (name, _), line in GATE.items() if name in INFERENCE}

    assert set(lines) == INFERENCE
    open_to_all = {name for name, line in lines.items() if line == "user"}
    assert open_to_all == {"models", "model", "response", "response-cancel"}


def test_w21_unknown_addresses_take_as_long_as_known_ones(bob):
    def took(email):
        times = []
        for _ in range(5):
            began = time.perf_counter()
            Api().post("/api/auth/login", {"email": email, "password": "wrong"})
            times.append(time.perf_counter() - began)
        return sorted(times)[2]

    known, unknown = took(bob.email), took("nobody@example.org")

    assert 0.4 < unknown / known < 2.5


def test_w32_a_database_that_is_busy_is_503_and_never_404(as_alice, bob, monkeypatch):
    from accounts import people

    def busy(*_arguments, **_more):
        raise OperationalError("SELECT secret FROM table: database is locked")

    monkeypatch.setattr(people, "change_of_rights", busy)
    answer = as_alice.put(f"/api/auth/admin/users/{bob.pk}/role", {"role": "admin"})

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert b"SELECT" not in answer.content


def test_w35_without_a_credential_nobody_is_the_local_admin_where_keys_are_asked_for(db):
    for path in ("/api/auth/admin/users", "/api/auth/admin/usage", "/v1/models"):
        assert Api().get(path).status_code == 401


def test_s35_passwords_are_argon2id_of_a_bounded_size(real_hashes, bob):
    hasher = get_hasher()

    assert (hasher.memory_cost, hasher.time_cost, hasher.parallelism) == (19 * 1024, 2, 1)
    assert User.objects.get(pk=bob.pk).password.startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")


def test_s35_an_older_hash_is_made_anew_at_sign_in(bob, settings):
    settings.PASSWORD_HASHERS = [
        "accounts.passwords.BoundedArgon2Hasher",
        "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    ]
    from django.contrib.auth.hashers import make_password

    old = make_password(PASSWORD, hasher="pbkdf2_sha256")
    User.objects.filter(pk=bob.pk).update(password=old)

    assert sign_in(bob).get("/api/auth/me").status_code == 200
    assert User.objects.get(pk=bob.pk).password.startswith("argon2$")


def test_s45_a_session_key_changes_at_sign_in_and_at_changes_of_rights_only(bob):
    api = Api()
    api.post("/api/auth/login", {"email": bob.email, "password": PASSWORD})
    first = api.client.cookies["session"].value
    for _ in range(3):
        api.get("/api/auth/me")
    assert api.client.cookies["session"].value == first
    api.post("/api/auth/login", {"email": bob.email, "password": PASSWORD})
    assert api.client.cookies["session"].value != first


def test_s47_ids_are_uuids_of_their_kind(bob, make_key):
    key, _ = make_key(bob)

    assert bob.pk.version == key.pk.version == 4
    assert uuid.UUID(str(bob.pk)) == bob.pk


@pytest.mark.parametrize(
    ("address", "base", "expected"),
    [
        ("127.0.0.1:8080", "", "http://localhost:8080"),
        (":8080", "", "http://localhost:8080"),
        ("192.168.1.5:80", "", "http://192.168.1.5:80"),
        ("127.0.0.1:8080", "https://llm.example/", "https://llm.example"),
    ],
)
def test_s48_the_base_url(address, base, expected, tmp_path, settings):
    fields = {"address": address, "base_url": base, "auth": True, "data_path": tmp_path}
    env = type(settings.GATEHOUSE)(**fields)

    assert env.public_url == expected


def test_g07_without_accounts_their_routes_are_not_there(db, settings):
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"auth": False})
    runtime.forget_auth_mode()
    try:
        legacy = Api(key="legacy-key-one")
        assert legacy.get("/api/auth/status").status_code == 200
        for path in ("/api/auth/me", "/api/auth/api-keys", "/api/auth/admin/users"):
            assert legacy.get(path).status_code == 404
            assert Api().get(path).status_code == 401
        made = Api().post("/api/auth/token-login", {"token": "legacy-key-one"})
        assert made.status_code == 200
    finally:
        runtime.forget_auth_mode()


@pytest.fixture
def exempted(settings):
    def set_to(*patterns, legacy=True):
        settings.GATEHOUSE = settings.GATEHOUSE.model_copy(
            update={
                "disable_api_key_requirement_for_http_get": True,
                "http_get_exempted_endpoints": list(patterns),
                "api_key": ["legacy-key-one"] if legacy else [],
            }
        )
        runtime.exemptions.cache_clear()
        runtime.forget_auth_mode()

    yield set_to
    runtime.exemptions.cache_clear()
    runtime.forget_auth_mode()


def test_what_an_operator_names_may_be_read_without_a_credential(db, exempted):
    """Contract 4.2: GET alone, and nothing but what any caller may read; W-35."""
    exempted("^/v1/models$", "^/api/.*$", "^/app.*$", "^/v1/chat.*$")

    assert Api().get("/v1/models").status_code == 200
    assert Api().get("/models").status_code == 401
    for method, path in (
        ("GET", "/api/auth/admin/users"),
        ("GET", "/api/auth/api-keys"),
        ("GET", "/api/auth/sessions"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/models"),
        ("GET", "/api/nothing"),
    ):
        assert Api()(method, path, {} if method == "POST" else None).status_code == 401, path
    assert Api().get("/app").headers["location"].startswith("/login")


def test_without_legacy_keys_or_the_setting_nothing_is_exempted(db, exempted):
    assert Api().get("/v1/models").status_code == 401
    exempted("^/v1/models$", legacy=False)
    assert Api().get("/v1/models").status_code == 401
