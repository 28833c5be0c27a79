"""Host, path, CORS, CSRF and headers, before anything else happens."""

import pytest

from tests.people import PASSWORD, Api


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "", "localhost@evil", "é"]
)
def test_another_host_name_is_refused(db, host):
    assert Api().get("/api/auth/status", host=host).status_code == 400


@pytest.mark.parametrize(
    "path", ["//api/auth/me", "/api//auth/me", "/api/auth/../auth/me", "/api/auth/%2e%2e/me"]
)
def test_an_ambiguous_path_is_refused(as_bob, path):
    assert as_bob.get(path).status_code in {400, 404}
    assert Api().get(path).status_code in {400, 401}


def test_every_answer_carries_the_headers_of_the_house(anonymous):
    for path in ("/api/auth/status", "/login", "/nowhere"):
        headers = anonymous.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "SAMEORIGIN"
        assert "script-src 'self'" in headers["content-security-policy"]
        assert headers["x-correlation-id"]


def test_a_correlation_id_is_echoed_where_it_is_sane(anonymous):
    assert (
        anonymous.get("/healthz", x_correlation_id="abc-1").headers["x-correlation-id"] == "abc-1"
    )
    assert (
        anonymous.get("/healthz", x_correlation_id="x" * 129).headers["x-correlation-id"]
        != "x" * 129
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
    ],
)
def test_s11_w23_another_site_cannot_use_a_cookie(as_bob, headers):
    answer = as_bob.post("/api/auth/api-keys", {"name": "k"}, **headers)

    assert answer.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec_fetch_site": "same-origin"},
        {"origin": "http://localhost"},
        {"sec_fetch_site": "none"},
    ],
)
def test_s11_our_own_pages_and_programs_can(as_bob, headers):
    assert as_bob.post("/api/auth/api-keys", {"name": "k"}, **headers).status_code == 201


def test_s38_signing_in_from_another_site_is_refused_without_a_cookie(bob):
    body = {"email": bob.email, "password": PASSWORD}

    assert Api().post("/api/auth/login", body, sec_fetch_site="cross-site").status_code == 403


def test_s11_a_header_credential_needs_no_origin(bob, make_key):
    _, secret = make_key(bob)
    answer = Api(key=secret).put("/api/auth/admin/users/x/role", {}, sec_fetch_site="cross-site")

    assert answer.status_code == 404


def test_s23_w22_no_cors_unless_asked_for(anonymous):
    answer = anonymous.get("/api/auth/status", origin="https://app.example")

    assert "access-control-allow-origin" not in answer.headers


def test_s02_a_query_with_a_zero_byte_is_400(anonymous):
    assert anonymous.get("/api/auth/status?x=%00").status_code == 400


def test_opaque_errors_empty_the_refusals_alike(anonymous, settings):
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"opaque_errors": True})

    assert anonymous.get("/api/auth/me").content == b""
    assert anonymous.get("/api/auth/me").status_code == 401
