"""Every mode with every provider, and a provider that is not there (3.1, W-14, S-30, S-31)."""

import httpx
import pytest

from tests.identity.conftest import providers_of
from tests.identity.person import Person, where

PROVIDERS = ("github", "oidc")


@pytest.fixture(scope="package")
def approval(ground):
    return ground.server()


@pytest.fixture(scope="package")
def invites_only(ground):
    return ground.server(LOCALAI_REGISTRATION_MODE="invite")


@pytest.fixture
def visitor(github):
    def make(house, login):
        github.add(login, number=abs(hash(login)) % 10**9, email=f"{login}@idp.example")
        return Person(house[0], login)

    return make


def invite(server):
    with server.client() as admin:
        return admin.post("/api/auth/admin/invites").json()["code"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_approval_a_newcomer_waits_and_comes_in_once_approved(approval, visitor, provider):
    server = approval[0]
    person = visitor(approval, f"waits-{provider}")

    assert where(person.sign_in(provider)) == "/waiting"
    assert person.me() is None
    assert where(person.sign_in(provider)) == "/waiting"

    with server.client() as admin:
        users = admin.get("/api/auth/admin/users").json()["users"]
        mine = next(user for user in users if user["email"] == f"waits-{provider}@idp.example")
        assert mine["status"] == "pending"
        path = f"/api/auth/admin/users/{mine['id']}/status"
        admin.put(path, json={"status": "active"})
        assert where(person.sign_in(provider)) == "/app"
        assert person.me()["email"] == mine["email"]
        admin.put(path, json={"status": "disabled"})
    assert person.me() is None
    assert where(person.sign_in(provider)) == "/login?error=account_disabled"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_c09_an_invite_counts_in_approval_mode_too(approval, visitor, provider):
    code = invite(approval[0])
    person = visitor(approval, f"invited-{provider}")

    assert where(person.sign_in(provider, f"?invite_code={code}")) == "/app"
    late = visitor(approval, f"late-{provider}")
    assert where(late.sign_in(provider, f"?invite_code={code}")) == "/login?error=invalid_invite"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_invite_mode_lets_nobody_in_without_and_makes_no_account(invites_only, visitor, provider):
    server = invites_only[0]
    person = visitor(invites_only, f"guest-{provider}")

    assert where(person.sign_in(provider)) == "/login?error=invite_required"
    assert (
        where(person.sign_in(provider, "?invite_code=" + "f" * 64)) == "/login?error=invalid_invite"
    )
    with server.client() as admin:
        emails = [user["email"] for user in admin.get("/api/auth/admin/users").json()["users"]]
    assert f"guest-{provider}@idp.example" not in emails
    assert where(person.sign_in(provider, f"?invite_code={invite(server)}")) == "/app"


def test_w15_each_code_is_in_plain_words_on_the_sign_in_page(invites_only):
    page = httpx.get(f"{invites_only[0].url}/login?error=invalid_invite").text

    assert "This invite is used or expired." in page
    assert "<script>" not in httpx.get(f"{invites_only[0].url}/login?error=<script>").text


@pytest.mark.parametrize("provider", PROVIDERS)
def test_s31_the_first_person_is_the_admin_by_any_method(ground, visitor, provider):
    house = ground.server(make_admin=False)
    person = visitor(house, f"first-{provider}")

    assert where(person.sign_in(provider)) == "/app"
    assert person.me()["role"] == "admin"
    second = visitor(house, f"second-{provider}")
    assert where(second.sign_in(provider)) == "/waiting"


def test_s30_reg04_where_others_can_reach_the_server_the_first_one_gives_the_token(ground, visitor):
    house = ground.server(make_admin=False, listen="every interface")
    server = house[0]
    person = visitor(house, "stranger")

    assert where(person.sign_in("github")) == "/login?error=setup_token_required"
    token = (server.folder / "data" / "setup-token").read_text().strip()
    assert where(person.sign_in("github", f"?setup_token={token}")) == "/app"
    assert person.me()["role"] == "admin"
    assert token not in server.log.read_text()


def test_w14_a_provider_that_is_down_at_start_stops_neither_the_server_nor_the_other(
    ground, visitor
):
    house = ground.server(idp_up=False)
    server, idp = house

    assert providers_of(server) == ["local", "github"]
    assert where(visitor(house, "anyway").sign_in("github")) == "/waiting"
    assert where(Person(server, "x").sign_in("oidc")) == "/login?error=provider_unavailable"
    with server.admin_browser() as browser:
        page = browser.get("/app/providers").text
    assert "Cannot be used, and is not offered." in page
    assert "ConnectionError" in page

    idp.start()
    server.until(lambda: providers_of(server) == ["local", "github", "oidc"], 30)
    assert where(Person(server, "back").sign_in("oidc")) == "/waiting"


def test_e33_to_e36_without_a_provider_are_404(tmp_path, open_house):
    from tests.servers import Server

    server = Server(tmp_path, web_only=True, LOCALAI_ENGINES="http://127.0.0.1:9")
    try:
        assert providers_of(server) == ["local"]
        for path in ("github/login", "github/callback", "oidc/login", "oidc/callback"):
            assert httpx.get(f"{server.url}/api/auth/{path}").status_code == 404
    finally:
        server.stop()


def test_oauth_only_e02_and_e03_are_closed(ground, visitor):
    house = ground.server(make_admin=False, LOCALAI_DISABLE_LOCAL_AUTH="true")
    server = house[0]

    assert providers_of(server) == ["github", "oidc"]
    body = {"email": "a@example.org", "password": "correct horse lamp"}
    for path in ("register", "login"):
        assert httpx.post(f"{server.url}/api/auth/{path}", json=body).status_code == 403
    page = httpx.get(f"{server.url}/login").text
    assert "Sign in with GitHub" in page
    assert 'name="password"' not in page
