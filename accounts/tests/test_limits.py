"""2.7, S-10, W-06: how often one may try, and from where a request comes."""

import pytest

from accounts import limits, runtime
from tests.people import PASSWORD, Api


def wrong(api, **headers):
    body = {"email": "bob@example.org", "password": "wrong"}
    return api.post("/api/auth/login", body, **headers)


def test_the_sixth_sign_in_of_a_minute_is_429_with_a_true_retry_after(bob, limited):
    limited(auth_rate_limit="5/m")
    api = Api()

    answers = [wrong(api) for _ in range(6)]

    assert [a.status_code for a in answers] == [401] * 5 + [429]
    assert answers[5].json() == {"error": "too many requests, please try again later"}
    assert 50 <= int(answers[5].headers["retry-after"]) <= 60


def test_w06_nobody_escapes_by_a_header(bob, limited):
    limited(auth_rate_limit="2/m")

    statuses = [wrong(Api(), X_Forwarded_For=f"1.2.3.{i}").status_code for i in range(3)]

    assert statuses == [401, 401, 429]


def test_a_trusted_proxys_word_counts(bob, limited):
    limited(auth_rate_limit="2/m", trusted_proxies=["127.0.0.0/8"])

    statuses = [wrong(Api(), X_Forwarded_For=f"1.2.3.{i}").status_code for i in range(3)]

    assert statuses == [401, 401, 401]


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("9.9.9.9", "", "9.9.9.9"),
        ("9.9.9.9", "1.1.1.1", "9.9.9.9"),
        ("10.0.0.1", "1.1.1.1", "1.1.1.1"),
        ("10.0.0.1", "6.6.6.6, 1.1.1.1", "1.1.1.1"),
        ("10.0.0.1", "1.1.1.1, 10.0.0.2", "1.1.1.1"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("2001:db8::1", "", "2001:db8::/64"),
        ("", "", "unknown"),
    ],
)
def test_whose_address_it_is(limited, peer, forwarded, expected):
    limited(trusted_proxies=["10.0.0.0/8"])

    assert limits.client_address(peer, forwarded) == expected


def test_s10_s37_after_ten_failures_an_account_is_slowed_not_locked(bob, limited):
    limited(auth_rate_limit="1000/m")
    for _ in range(10):
        assert wrong(Api()).status_code == 401

    assert wrong(Api()).status_code == 401  # the one try of thirty seconds
    slowed = wrong(Api())

    assert slowed.status_code == 429
    assert int(slowed.headers["retry-after"]) <= 30
    good = {"email": "bob@example.org", "password": PASSWORD}
    runtime.attempts().forget("slowed", "bob@example.org|127.0.0.1")
    assert Api().post("/api/auth/login", good).status_code == 200


def test_s37_a_device_that_signed_in_before_is_not_slowed_by_others(bob, limited):
    limited(auth_rate_limit="1000/m")
    good = {"email": "bob@example.org", "password": PASSWORD}
    own = Api()
    assert own.post("/api/auth/login", good).status_code == 200
    cookie = own.client.cookies["device"]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    attacker = Api()
    statuses = [wrong(attacker).status_code for _ in range(14)]
    assert 429 in statuses

    assert Api().post("/api/auth/login", good).status_code == 429
    assert own.post("/api/auth/login", good).status_code == 200


def test_s37_a_known_device_has_a_count_of_its_own_and_is_known_for_one_account(
    bob, mallory, limited
):
    limited(auth_rate_limit="1000/m")
    own = Api()
    own.post("/api/auth/login", {"email": "bob@example.org", "password": PASSWORD})
    assert [wrong(own).status_code for _ in range(12)].count(429) >= 1
    for _ in range(12):
        Api().post("/api/auth/login", {"email": mallory.email, "password": "wrong"})
    other = own.post("/api/auth/login", {"email": mallory.email, "password": PASSWORD})
    assert other.status_code == 429
    forged = Api()
    forged.client.cookies["device"] = own.client.cookies["device"].value[:-1] + "0"
    assert (
        forged.post("/api/auth/login", {"email": mallory.email, "password": PASSWORD}).status_code
        == 429
    )
