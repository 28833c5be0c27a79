"""Family 3: the gate judges the very path that is served (CVE-2026-49468, -48710)."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import GatehouseError
from core.paths import canonical_path
from tests.people import Api

CLOSED = "/api/auth/admin/users"
DISGUISES = [
    "//api/auth/admin/users",
    "/api//auth/admin/users",
    "/api/auth/admin/users/",
    "/api/auth/./admin/users",
    "/api/auth/status/../admin/users",
    "/api/auth/status/..;/admin/users",
    "/api/auth/status%2f..%2fadmin/users",
    "/api/auth/%61dmin/users",
    "/api/auth/admin%2fusers",
    "/api/auth/admin/users%00",
    "/api/auth/admin/users%20",
    "/api/auth/admin/users;x=1",
    "/API/AUTH/ADMIN/USERS",
    "/static/../api/auth/admin/users",
    "/healthz/../api/auth/admin/users",
    "/login/..%2fapi/auth/admin/users",
    "/\\api/auth/admin/users",
    "http://localhost/api/auth/admin/users",
]
REWRITES = [
    {"x_forwarded_prefix": "/api/auth/status"},
    {"x_original_url": "/api/auth/status"},
    {"x_rewrite_url": "/api/auth/status"},
    {"x_forwarded_host": "evil.example"},
    {"x_http_method_override": "OPTIONS"},
    {"forwarded": "for=127.0.0.1;host=evil.example"},
]


@pytest.mark.parametrize("path", DISGUISES)
def test_no_spelling_of_a_closed_path_opens_it(as_bob, path):
    for api in (Api(), as_bob):
        assert api.get(path).status_code in {400, 401, 403, 404}, path


@pytest.mark.parametrize("headers", REWRITES, ids=str)
def test_no_header_moves_the_gate(as_bob, headers):
    assert as_bob.get(CLOSED, **headers).status_code == 403
    assert Api().get(CLOSED, **headers).status_code == 401


@pytest.mark.parametrize(
    "host",
    [
        "localhost/healthz?",
        "localhost/api/auth/status#",
        "localhost:80/x",
        "a@localhost",
        "local host",
    ],
)
def test_no_host_moves_the_gate(as_bob, host):
    assert as_bob.get(CLOSED, host=host).status_code in {400, 403}


@settings(
    max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.text(alphabet="/.%2fFeE5cC\\;a:?#\x00 é", max_size=40))
def test_a_path_has_one_reading_or_none(text):
    """Whatever is let through is its own canonical form: read again it stays the same."""
    raw = ("/" + text).encode("utf-8", "surrogatepass")
    try:
        once = canonical_path(raw)
    except GatehouseError:
        return
    assert "//" not in once
    assert "/../" not in f"{once}/"
    assert "\0" not in once
