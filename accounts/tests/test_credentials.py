"""Section 2.1: where a credential may come from, and in which order."""

import pytest
from django.utils import timezone

from accounts.models import ApiKey, Session, User
from tests.people import Api, sign_in


def who(api, **headers):
    answer = api.get("/api/auth/me", **headers)
    return answer.json().get("email") if answer.status_code == 200 else answer.status_code


def test_a1_before_a2_the_session_cookie_beats_a_bearer_key_tok03(as_bob, mallory, make_key):
    _, secret = make_key(mallory)

    assert who(as_bob, Authorization=f"Bearer {secret}") == "bob@example.org"


def test_a2_a_session_token_is_good_as_bearer_and_nowhere_else_tok06(as_bob):
    token = as_bob.client.cookies["session"].value

    assert who(Api(), Authorization=f"Bearer {token}") == "bob@example.org"
    assert who(Api(), x_api_key=token) == 401
    assert who(Api(), Cookie=f"token={token}") == 401


def test_a3_to_a6_an_api_key_by_every_carrier(bob, make_key):
    _, secret = make_key(bob)

    assert who(Api(), Authorization=f"Bearer {secret}") == bob.email
    assert who(Api(), x_api_key=secret) == bob.email
    assert who(Api(), xi_api_key=secret) == bob.email
    assert who(Api(), Cookie=f"token={secret}") == bob.email


def test_a_bad_header_does_not_block_a_good_cookie(as_bob):
    assert who(as_bob, Authorization="Bearer lai-wrong", x_api_key="wrong") == "bob@example.org"


def test_phase_b_a_bad_authorization_hides_a_good_legacy_key(db):
    good = {"x_api_key": "legacy-key-one"}

    assert who(Api(), **good) == ""
    assert who(Api(), Authorization="legacy-key-one") == ""
    assert who(Api(), Authorization="Bearer wrong", **good) == 401


@pytest.mark.parametrize("carrier", ["?api_key={0}", "?token={0}", "?key={0}"])
def test_tok01_no_query_parameter_is_a_credential(bob, make_key, carrier):
    _, secret = make_key(bob)

    assert Api().get("/api/auth/me" + carrier.format(secret)).status_code == 401


@pytest.mark.parametrize("word", ["bearer", "BEARER", "Bearer  ", "Basic", "Token"])
def test_the_word_is_bearer_with_one_space(bob, make_key, word):
    _, secret = make_key(bob)

    assert who(Api(), Authorization=f"{word} {secret}") == 401


@pytest.mark.parametrize("status", ["pending", "disabled"])
def test_tok04_only_an_active_owner_counts(bob, make_key, status):
    _, secret = make_key(bob)
    session = sign_in(bob)

    User.objects.filter(pk=bob.pk).update(status=status)

    assert who(Api(key=secret)) == 401
    assert who(session) == 401


def test_an_expired_key_is_refused(bob, make_key):
    key, secret = make_key(bob)
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now())

    assert who(Api(key=secret)) == 401


def test_a_leaked_session_table_is_no_credential(as_bob):
    stored = Session.objects.get().pk

    for header in ({"Cookie": f"session={stored}"}, {"Authorization": f"Bearer {stored}"}):
        assert who(Api(), **header) == 401


def test_a_leaked_key_table_is_no_credential(bob, make_key):
    key, _ = make_key(bob)

    assert who(Api(key=key.digest)) == 401
    assert who(Api(key="lai-" + key.digest)) == 401


def test_two_keys_with_the_same_beginning_are_two_keys(bob, make_key):
    _, secret = make_key(bob)

    assert who(Api(key=secret[:-1] + ("0" if secret[-1] != "0" else "1"))) == 401
    assert who(Api(key=secret)) == bob.email


@pytest.mark.parametrize(
    "nasty",
    [
        "' OR 1=1 --",
        "lai-' OR '1'='1",
        "lai-%00",
        "lai-" + "a" * 5000,
        "lai-é",
        "a.b.c",
        "..",
        "x" * 40 + ".deadbeef.00",
    ],
)
def test_no_carrier_lets_a_nasty_string_through(db, nasty):
    for header in ("Authorization", "x_api_key", "xi_api_key", "Cookie"):
        value = {"Authorization": f"Bearer {nasty}", "Cookie": f"session={nasty}; token={nasty}"}
        answer = Api().get("/api/auth/me", **{header: value.get(header, nasty)})
        assert answer.status_code == 401


def test_last_use_is_written_at_most_once_a_minute(bob, make_key, django_assert_num_queries):
    key, secret = make_key(bob)
    api = Api(key=secret)
    api.get("/api/auth/me")
    first = ApiKey.objects.get(pk=key.pk).last_used_at

    api.get("/api/auth/me")

    assert first is not None
    assert ApiKey.objects.get(pk=key.pk).last_used_at == first


def test_a_password_change_ends_sessions(as_bob, bob):
    bob.set_password("another long pass phrase")
    bob.save(update_fields=["password"])

    assert who(as_bob) == 401
