"""What a provider, or somebody in its place, may say wrongly (identity.md, section 3, row by row)."""

import time

import pytest

from tests.identity.person import where

NOW = int(time.time())
REFUSED = [
    ("a wrong nonce", {"id_token": {"nonce": "wrong"}}, "nonce mismatch"),
    ("no nonce", {"id_token": {"nonce": None}}, "nonce mismatch"),
    ("another issuer", {"id_token": {"iss": "http://evil.example"}}, "Invalid issuer"),
    ("another audience", {"id_token": {"aud": "other"}}, "Audience"),
    ("expired", {"id_token": {"exp": NOW - 120}}, "expired"),
    ("several audiences without azp", {"id_token": {"aud": ["webapp", "x"]}}, "azp mismatch"),
    ("another azp", {"id_token": {"azp": "other"}}, "azp mismatch"),
    ("no expiry", {"id_token": {"exp": None}}, "exp"),
    ("issued two hours ago", {"id_token": {"iat": NOW - 7200}}, "too old"),
    ("issued in the future", {"id_token": {"iat": NOW + 7200}}, "not yet valid"),
    ("not signed", {"sign": "none"}, "alg"),
    ("signed with the client's secret", {"sign": "hs256"}, "alg"),
    ("signed by a rogue key", {"sign": "rogue"}, "Signature verification failed"),
    ("an unknown key id", {"sign": "unknown"}, "signing key"),
    ("no key id", {"sign": "nokid"}, ""),
    ("no id token at all", {"drop_id_token": True}, "no id_token"),
    ("another subject in the id token", {"id_token": {"sub": "someone-else"}}, "somebody else"),
    ("another subject in userinfo", {"userinfo": {"sub": "someone-else"}}, "somebody else"),
    ("a null subject in userinfo", {"userinfo": {"sub": None}}, "somebody else"),
    ("userinfo fails", {"userinfo_status": 500}, "HTTPError"),
]


@pytest.mark.parametrize("row", REFUSED, ids=[row[0] for row in REFUSED])
def test_refused_and_an_admins_test_says_why(house, somebody, as_admin, row):
    what, how, reason = row
    person = somebody()
    house[1].mode(**how)

    assert where(person.sign_in("oidc")) == "/login?error=provider_error", what
    assert person.me() is None
    page = as_admin.try_provider("oidc", person.login)
    assert "Refused: provider_error" in page
    assert reason in page.replace("&#x27;", "'")


def test_the_controls_sign_in(house, somebody):
    """Re-signed unchanged, and a list of audiences with our azp: so the refusals are for their reason."""
    house[1].mode(id_token={})
    assert where(somebody().sign_in("oidc")) == "/app"
    house[1].mode(id_token={"aud": ["webapp", "other"], "azp": "webapp"})
    assert where(somebody().sign_in("oidc")) == "/app"


def test_a_key_that_is_rotated_in_is_found(house, somebody, ground):
    server, idp = ground.server(LOCALAI_REGISTRATION_MODE="open")
    idp.mode(sign="rotated", rotate=True)
    from tests.identity.person import Person

    person = Person(server, "rotated")
    assert where(person.sign_in("oidc")) == "/app"


def test_two_people_whose_subject_is_null_are_not_one(house, somebody):
    house[1].mode(userinfo={"sub": None}, id_token={"sub": None})

    for _ in range(2):
        assert where(somebody().sign_in("oidc")) == "/login?error=provider_error"


def test_a_provider_with_another_issuer_in_its_metadata_is_not_offered(ground):
    from tests.identity.conftest import providers_of

    server, idp = ground.server(idp_up=False, LOCALAI_REGISTRATION_MODE="open")
    idp.start()
    idp.mode(discovery={"issuer": "http://evil.example"})
    time.sleep(6)

    assert providers_of(server) == ["local", "github"]
