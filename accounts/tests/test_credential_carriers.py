"""Family 2: what restricts a key restricts it by whichever header it comes (CVE-2026-45339, -42208)."""

import pytest

from accounts.models import User
from tests.people import Api

CARRIERS = {
    "bearer": lambda secret: {"Authorization": f"Bearer {secret}"},
    "x-api-key": lambda secret: {"x_api_key": secret},
    "xi-api-key": lambda secret: {"xi_api_key": secret},
    "cookie": lambda secret: {"Cookie": f"token={secret}"},
}
HOSTILE = [
    "' OR 1=1 --",
    "lai-' OR '1'='1",
    "lai-" + "0" * 64 + "' UNION SELECT 1 --",
    "lai-" + "%" * 64,
    "lai-*",
    "lai-" + "a" * 100_000,
    "lai-\x01\x02",
    "lai-é",
    "lai-" + "\t" * 10,
    "ey' OR 1=1.x.y",
    "ey" + "." * 50,
    "null",
    "undefined",
]


@pytest.mark.parametrize("carrier", CARRIERS)
def test_every_restriction_holds_by_every_carrier(bob, make_key, carrier):
    _, secret = make_key(bob)
    User.objects.filter(pk=bob.pk).update(
        permissions={"tokenize": False}, models_restricted=True, allowed_models=["m"]
    )
    headers = CARRIERS[carrier](secret)

    def status(method, path, body=None):
        return Api()(method, path, body, **headers).status_code

    assert status("GET", "/api/auth/me") == 200
    assert status("POST", "/v1/tokenize", {"model": "m", "content": "x"}) == 403
    assert status("POST", "/v1/embeddings", {"model": "other", "input": "x"}) == 403
    assert status("GET", "/api/auth/admin/users") == 403
    assert status("POST", "/api/auth/api-keys", {"name": "another"}) == 403
    assert status("PUT", "/api/auth/password", {}) == 403


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("secret", HOSTILE)
def test_hostile_credentials_are_401_and_nothing_else(db, carrier, secret):
    if carrier == "cookie":
        secret = secret.replace(";", "")

    answer = Api().get("/api/auth/me", **CARRIERS[carrier](secret))

    assert answer.status_code == 401
    assert answer.json()["error"]["message"] == "An authentication key is required"


@pytest.mark.parametrize("name", ["session", "token"])
@pytest.mark.parametrize("value", ["", "x", "a.b.c", "a" * 600, "%00", "é", "'; DROP TABLE x"])
def test_hostile_cookies_are_401(db, name, value):
    assert Api().get("/api/auth/me", Cookie=f"{name}={value}").status_code == 401
