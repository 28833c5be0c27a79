"""OIDC access tokens as Bearer credentials (S-27), on the lane and in the slow door alike."""

import time

import httpx
import pytest

from tests.identity.conftest import AUDIENCE
from tests.identity.person import Person

PATHS = ("/v1/models", "/api/auth/me")  # the fast door and the slow one


def claims(idp, subject, **more):
    now = int(time.time())
    made = {"iss": idp.url, "sub": subject, "aud": AUDIENCE, "iat": now, "exp": now + 300, **more}
    return {name: value for name, value in made.items() if value is not None}


@pytest.fixture
def known(house, somebody):
    """Somebody with an account that is linked to the provider."""
    person = somebody()
    assert person.sign_in("oidc").status_code == 302
    return person


def statuses(server, token):
    headers = {"Authorization": f"Bearer {token}"}
    return [httpx.get(server.url + path, headers=headers).status_code for path in PATHS]


def test_s27_a_good_token_is_its_owner(house, known):
    server, idp = house
    token = idp.token(claims(idp, known.login))

    assert statuses(server, token) == [200, 200]
    me = httpx.get(f"{server.url}/api/auth/me", headers={"Authorization": f"Bearer {token}"}).json()
    assert me["id"] == known.me()["id"]


def said(given):
    """A name without moments: every process that runs tests has to find the same ones."""
    return " ".join(
        f"{key}={value}" for key, value in given.items() if not isinstance(value, int)
    ) or "+".join(given)


@pytest.mark.parametrize(
    ("change", "how"),
    [
        ({"aud": "urn:another-api"}, {}),
        ({"aud": "webapp"}, {}),
        ({"aud": None}, {}),
        ({"exp": int(time.time()) - 100}, {}),
        ({"exp": None}, {}),
        ({"iss": "http://evil.example"}, {}),
        ({"sub": None}, {}),
        ({"nbf": int(time.time()) + 1000}, {}),
        ({"nonce": "n"}, {}),
        ({"at_hash": "h"}, {}),
        ({}, {"sign": "none"}),
        ({}, {"sign": "hs256"}),
        ({}, {"sign": "rogue"}),
        ({}, {"sign": "unknown"}),
        ({}, {"sign": "nokid"}),
        ({}, {"typ": "JWT"}),
        ({}, {"typ": "id+jwt"}),
        ({"sub": "nobody-here"}, {}),
    ],
    ids=said,
)
def test_s27_everything_else_is_401(house, known, change, how):
    server, idp = house
    token = idp.token(claims(idp, known.login, **change), **how)

    assert statuses(server, token) == [401, 401]


def test_nonsense_is_401(house):
    server = house[0]

    for token in ("eyJ.x.y", "ey" + "a" * 9000 + "..", "ey..", "eyJhbGciOiJub25lIn0.e30."):
        assert statuses(server, token) == [401, 401]


def test_it_creates_and_promotes_nobody(house, somebody):
    server, idp = house
    chief = somebody(email="chief@idp.example")
    token = idp.token(claims(idp, chief.login, email="chief@idp.example", email_verified=True))

    assert statuses(server, token) == [401, 401]


def test_a_disabled_owner_is_out_at_once(house, known):
    server, idp = house
    token = idp.token(claims(idp, known.login))
    assert statuses(server, token) == [200, 200]
    with server.client() as admin:
        path = f"/api/auth/admin/users/{known.me()['id']}/status"
        assert admin.put(path, json={"status": "disabled"}).status_code == 200

    assert statuses(server, token) == [401, 401]


def test_it_is_never_remembered_longer_than_it_lives(house, known):
    server, idp = house
    now = int(time.time())
    token = idp.token(claims(idp, known.login, exp=now - 27))  # 30 s of leeway: good for 3 more
    assert statuses(server, token)[0] == 200
    time.sleep(max(0.0, now + 4.5 - time.time()))

    assert statuses(server, token) == [401, 401]


def test_c11_it_may_do_what_no_session_is_needed_for(house, known):
    server, idp = house
    headers = {"Authorization": f"Bearer {idp.token(claims(idp, known.login))}"}

    made = httpx.post(f"{server.url}/api/auth/api-keys", json={"name": "x"}, headers=headers)
    assert made.status_code == 403
    assert httpx.get(f"{server.url}/api/auth/api-keys", headers=headers).status_code == 200


def test_a_flood_of_unknown_key_ids_asks_the_provider_hardly_ever(house, known):
    server, idp = house
    statuses(server, idp.token(claims(idp, known.login)))
    before = idp.tell("counts", {})["counts"].get("/jwks", 0)

    for i in range(15):
        token = idp.token(claims(idp, known.login, jti=str(i)), sign="unknown")
        assert statuses(server, token) == [401, 401]

    assert idp.tell("counts", {})["counts"].get("/jwks", 0) - before <= 2 * 2  # two workers


def test_a_key_that_is_rotated_in_is_found(ground):
    server, idp = ground.server(LOCALAI_REGISTRATION_MODE="open")
    person = Person(server, "rotates")
    person.sign_in("oidc")
    assert statuses(server, idp.token(claims(idp, "rotates"))) == [200, 200]
    idp.mode(rotate=True)
    time.sleep(5.5)  # the cool-down after the last fetch

    token = idp.token(claims(idp, "rotates"), sign="rotated")

    server.until(lambda: statuses(server, token) == [200, 200], 10)


def test_without_the_setting_no_token_is_taken_and_no_provider_asked(ground):
    server, idp = ground.server(LOCALAI_OIDC_AUDIENCE="")
    before = idp.tell("counts", {})["counts"].get("/jwks", 0)

    assert statuses(server, idp.token(claims(idp, "x"))) == [401, 401]
    assert idp.tell("counts", {})["counts"].get("/jwks", 0) == before


def test_two_tokens_with_the_same_beginning_are_two(house, known, somebody):
    """CVE-2026-35030: what is remembered is keyed by the whole token."""
    server, idp = house
    other = somebody()
    other.sign_in("oidc")
    ours, theirs = (idp.token(claims(idp, p.login)) for p in (known, other))
    assert ours[:60] == theirs[:60]

    found = [
        httpx.get(f"{server.url}/api/auth/me", headers={"Authorization": f"Bearer {t}"}).json()[
            "email"
        ]
        for t in (ours, theirs, ours)
    ]
    assert found == [known.me()["email"], other.me()["email"], known.me()["email"]]
