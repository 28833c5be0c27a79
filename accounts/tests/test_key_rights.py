"""Family 6: no mix of credentials admits more than its best valid one (CVE-2026-47101)."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.credentials import AuthMode, KnownPrincipals, Resolver, lookups
from core.generations import Generations
from core.keyring import Keyring
from core.principal import LEGACY, Principal

SESSIONS = Keyring(["s" * 40], "session")
LEGACY_KEY = b"legacy-key"
PEOPLE = {
    ("session", "sess-admin"): Principal("a", "A", "a@x", "admin", "web"),
    ("session", "sess-user"): Principal("u", "U", "u@x", "user", "web"),
    ("api-key", "lai-admin"): Principal("a", "A", "a@x", "admin", "apikey", key_id="1"),
    ("api-key", "lai-user"): Principal("u", "U", "u@x", "user", "apikey", key_id="2"),
    ("oidc", "eyA.b.c"): Principal("u", "U", "u@x", "user", "oidc"),
}


class Known:
    """Stands in for the database: the people above, and nobody else."""

    def recall(self, _kind, _secret):
        return None

    def recall_key(self, _secret):
        return None

    async def find(self, kind, secret):
        return PEOPLE.get((kind, secret))


def resolver(known=None, *, accounts=True, legacy=True, oidc=True):
    mode = AuthMode(accounts, (LEGACY_KEY,) if legacy else (b"another",), oidc=oidc)
    return Resolver(lambda: mode, known or Known(), SESSIONS)


@pytest.fixture(scope="module")
def remembering(tmp_path_factory):
    """What a worker has that saw everybody above a moment ago."""
    generations = Generations(tmp_path_factory.mktemp("state") / "generations")
    known = KnownPrincipals(Known().find, generations=generations, keyring=SESSIONS)

    async def see_everybody():
        for kind, secret in PEOPLE:
            assert await known.find(kind, secret)

    asyncio.run(see_everybody())
    return known


GOOD = [
    SESSIONS.sign("sess-admin"),
    SESSIONS.sign("sess-user"),
    "lai-admin",
    "lai-user",
    "eyA.b.c",
    "legacy-key",
]
BAD = [
    "",
    "lai-nobody",
    "sess-admin",
    SESSIONS.sign("sess-gone"),
    "eyX.y.z",
    "legacy-kez",
    "x y",
    "Bearer lai-admin",
]
value = st.sampled_from(GOOD + BAD)
headers = st.fixed_dictionaries(
    {},
    optional={
        b"authorization": st.one_of(value.map(lambda v: f"Bearer {v}"), value),
        b"x-api-key": value,
        b"xi-api-key": value,
        b"cookie": st.lists(st.tuples(st.sampled_from(["session", "token", "other"]), value)).map(
            lambda pairs: "; ".join(f"{k}={v}" for k, v in pairs)
        ),
    },
).map(lambda made: {name: text.encode("latin-1") for name, text in made.items()})


def resolve(given_headers, **mode):
    return asyncio.run(resolver(**mode).resolve(given_headers))


def best(given_headers):
    """The most that any single credential in these headers gives alone, by its own carrier."""
    alone = [resolve({name: text}) for name, text in given_headers.items()]
    cookie = given_headers.get(b"cookie", b"")
    alone += [resolve({b"cookie": part.strip()}) for part in cookie.split(b";")]
    rank = {None: 0, "user": 1, "admin": 2}
    return max((rank[p.role if p else None] for p in alone), default=0)


@settings(max_examples=400, deadline=None)
@given(headers)
def test_no_mix_admits_more_than_its_best(given_headers):
    found = resolve(given_headers)
    rank = {None: 0, "user": 1, "admin": 2}[found.role if found else None]

    assert rank <= best(given_headers)


@settings(max_examples=400, deadline=None)
@given(headers)
def test_whoever_is_found_brought_their_own_secret(given_headers):
    found = resolve(given_headers)
    text = b" ".join(given_headers.values()).decode("latin-1")

    if found is LEGACY:
        assert "legacy-key" in text
    elif found is not None:
        secrets = [secret for (_, secret), person in PEOPLE.items() if person is found]
        assert any(secret in text for secret in secrets)


@settings(max_examples=200, deadline=None)
@given(headers)
def test_without_accounts_only_the_legacy_key_and_its_session_count(given_headers):
    for kind, _secret in lookups(AuthMode(False, (LEGACY_KEY,)), SESSIONS, given_headers):
        assert kind == "session"


@settings(max_examples=200, deadline=None)
@given(headers)
def test_where_access_tokens_are_off_none_is_looked_up(given_headers):
    kinds = {kind for kind, _ in lookups(AuthMode(True, ()), SESSIONS, given_headers)}

    assert "oidc" not in kinds


@given(headers, st.booleans(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_what_is_remembered_changes_nobodys_rights(remembering, given_headers, accounts, legacy):
    """The short way of a key that was seen before is only that: the same principal, in every mode."""
    mode = {"accounts": accounts, "legacy": legacy}
    found = asyncio.run(resolver(remembering, **mode).resolve(given_headers))

    assert found == resolve(given_headers, **mode)


@pytest.mark.parametrize("cookie", ["session", "token"])
@pytest.mark.parametrize("key", ["lai-admin", "lai-user", "lai-nobody"])
@pytest.mark.parametrize("other", GOOD)
def test_a_cookie_beside_a_key_that_is_remembered_is_still_tried_first(
    remembering, cookie, key, other
):
    given_headers = {
        b"authorization": f"Bearer {key}".encode(),
        b"cookie": f"{cookie}={other}".encode(),
    }

    assert asyncio.run(resolver(remembering).resolve(given_headers)) == resolve(given_headers)
