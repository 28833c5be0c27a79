"""Sign-in by GitHub and OpenID Connect, through the providers' own pages (E-33 to E-36, S-40)."""

import httpx
import pytest

from accounts.tests.test_factors import code_of, next_code_of
from tests.identity.person import Person, where

PROVIDERS = ("github", "oidc")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_newcomer_comes_in_and_comes_again(house, somebody, provider):
    person = somebody()

    done = person.sign_in(provider)

    assert (done.status_code, where(done)) == (302, "/app")
    me = person.me()
    assert (me["email"], me["role"], me["provider"]) == (
        f"{person.login}@idp.example",
        "user",
        provider,
    )
    again = Person(house[0], person.login)
    assert where(again.sign_in(provider)) == "/app"
    assert again.me()["id"] == me["id"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_w15_pkce_state_and_the_contracts_callback_address(house, somebody, provider):
    start = somebody().http.get(f"{house[0].url}/api/auth/{provider}/login")

    query = dict(start.next_request.url.params)
    assert start.status_code == 302
    assert query["redirect_uri"] == f"{house[0].url}/api/auth/{provider}/callback"
    assert query["code_challenge_method"] == "S256"
    assert query["response_type"] == "code"
    assert len(query["state"]) >= 16
    assert ("nonce" in query) == (provider == "oidc")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_query_of_the_start_decides_nothing(house, somebody, provider):
    evil = "?auth_params=redirect_uri%3Dhttp%3A%2F%2Fevil%2F&scope=admin&next=http://evil/&process=connect"

    start = somebody().http.get(f"{house[0].url}/api/auth/{provider}/login{evil}")

    query = dict(start.next_request.url.params)
    assert query["redirect_uri"].startswith(house[0].url)
    assert "admin" not in query["scope"]
    assert where(somebody().sign_in(provider, evil)) == "/app"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_r24_who_wanted_a_page_comes_back_to_it(house, somebody, provider):
    assert where(somebody().sign_in(provider, "?next=/app/usage")) == "/app/usage"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_s40_who_cancels_is_told_so_on_the_sign_in_page(house, somebody, provider):
    person = somebody()

    done = person.sign_in(provider, do="deny")

    assert where(done) == "/login?error=access_denied"
    assert (
        "You cancelled the sign-in."
        in person.http.get(f"{house[0].url}/login?error=access_denied").text
    )
    assert person.me() is None


@pytest.mark.parametrize("provider", PROVIDERS)
def test_state_belongs_to_one_browser_one_provider_and_one_use(house, somebody, provider):
    person, other = somebody(), somebody()
    callback = person.callback_url(provider)
    swapped = callback.replace(provider, "github" if provider == "oidc" else "oidc", 1)

    assert where(other.http.get(callback)) == "/login?error=invalid_state"
    assert (
        where(person.http.get(callback.replace("state=", "state=x")))
        == "/login?error=invalid_state"
    )
    assert where(person.http.get(callback.split("?")[0])) == "/login?error=invalid_state"
    assert where(person.http.get(swapped)) == "/login?error=invalid_state"
    assert where(person.http.get(callback)) == "/app"
    person.http.cookies.clear()
    assert where(person.http.get(callback)) == "/login?error=invalid_state"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_code_of_somebody_elses_flow_is_refused_by_pkce(house, somebody, provider):
    victim, attacker = somebody(), somebody()
    stolen = dict(_query(victim.callback_url(provider)))["code"]
    own = attacker.callback_url(provider)

    done = attacker.http.get(own.replace(dict(_query(own))["code"], stolen))

    assert where(done) == "/login?error=provider_error"
    assert attacker.me() is None


def _query(url):
    from urllib.parse import parse_qsl, urlsplit

    return parse_qsl(urlsplit(url).query)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_c18_an_address_that_is_taken_is_never_linked(house, somebody, provider):
    first = somebody()
    assert where(first.sign_in("github" if provider == "oidc" else "oidc")) == "/app"
    email = first.me()["email"]
    twin = somebody(email=email)

    assert where(twin.sign_in(provider)) == "/login?error=email_in_use"
    assert twin.me() is None


def test_s32_a_proven_address_displaces_an_account_that_never_proved_it(house, somebody):
    squatter = somebody()
    email = "squatted@idp.example"
    body = {"email": email, "password": "correct horse lamp"}
    assert squatter.api("POST", "/api/auth/register", body).status_code == 201
    key = squatter.api("POST", "/api/auth/api-keys", {"name": "k"}).json()["key"]

    assert (
        where(somebody(email=email, verified=False).sign_in("oidc")) == "/login?error=email_in_use"
    )
    owner = somebody(email=email)
    assert where(owner.sign_in("oidc")) == "/app"

    assert owner.me()["email"] == email
    assert squatter.me() is None
    assert squatter.api("GET", "/api/auth/me", Authorization=f"Bearer {key}").status_code == 401
    assert squatter.api("POST", "/api/auth/login", body).status_code == 401


@pytest.mark.parametrize("provider", PROVIDERS)
def test_without_an_address_nobody_comes_in(house, github, somebody, provider):
    person = somebody()
    github.people[person.login]["emails"] = None
    house[1].person(person.login, email=None)

    assert where(person.sign_in(provider)) == "/login?error=email_required"


def test_w16_profile_edits_survive_the_next_sign_in(house, somebody):
    person = somebody(name="From The Provider")
    person.sign_in("oidc")
    person.api("PUT", "/api/auth/profile", {"name": "My Own Name", "avatar_url": ""})
    house[1].person(person.login, email="changed@idp.example", email_verified=True, name="Changed")

    again = Person(house[0], person.login)
    again.sign_in("oidc")

    me = again.me()
    assert (me["name"], me["email"]) == ("My Own Name", f"{person.login}@idp.example")


def test_w16_a_github_user_without_a_name_has_their_login(house, github, somebody):
    person = somebody()
    github.people[person.login]["name"] = None
    person.sign_in("github")

    assert person.me()["name"] == person.login


@pytest.mark.parametrize("value", ["true", "false", 1, None])
def test_w16_only_a_real_true_proves_an_address(house, somebody, value):
    person = somebody(verified=value)

    assert where(person.sign_in("oidc")) == "/app"  # a string does not break the sign-in, either
    chief = somebody(email=f"chief+{person.login}@idp.example", verified=value)
    assert where(chief.sign_in("oidc")) == "/app"


def test_s01_reg02_reg03_the_admin_address_makes_an_admin_only_where_it_is_proven(house, somebody):
    doubtful = somebody(email="chief@idp.example", verified=False)
    doubtful.sign_in("oidc")
    assert doubtful.me()["role"] == "user"

    owner = somebody(email="chief@idp.example")
    assert where(owner.sign_in("oidc")) == "/app"
    assert owner.me()["role"] == "admin"
    assert doubtful.me() is None


def test_s44_groups_give_and_take_the_admin_role_but_not_one_given_by_hand(house, somebody):
    server, idp = house
    person = somebody(groups=["staff", "gatehouse-admins"])
    person.sign_in("oidc")
    assert person.me()["role"] == "admin"

    idp.person(person.login, groups=["staff"])
    Person(server, person.login).sign_in("oidc")
    assert person.me()["role"] == "user"

    with server.client() as admin:
        path = f"/api/auth/admin/users/{person.me()['id']}/role"
        assert admin.put(path, json={"role": "admin"}).status_code == 200
    Person(server, person.login).sign_in("oidc")
    assert person.me()["role"] == "admin"


def test_linking_and_unlinking_by_the_signed_in_owner(house, somebody):
    person = somebody()
    person.sign_in("github")
    me = person.me()

    page = person.form("/app/account/link/oidc")
    assert "Going on to <bdi>127.0.0.1" in page.text
    url = page.text.split('href="http://127')[1].split('"')[0].replace("&amp;", "&")
    assert where(person.follow("http://127" + url)) == "/app/account/security"

    other = Person(house[0], person.login)
    assert where(other.sign_in("oidc")) == "/app"
    assert other.me()["id"] == me["id"]
    person.form("/app/account/unlink/github")
    assert where(Person(house[0], person.login).sign_in("github")) == "/login?error=email_in_use"
    person.form("/app/account/unlink/oidc")
    assert "only way to sign in" in person.http.get(f"{house[0].url}/app/account/security").text


def test_an_identity_of_somebody_else_cannot_be_linked(house, somebody):
    first, second = somebody(), somebody()
    first.sign_in("oidc")
    second.sign_in("github")
    second.login = first.login

    page = second.form("/app/account/link/oidc")
    url = page.text.split('href="http://127')[1].split('"')[0].replace("&amp;", "&")

    assert where(second.follow("http://127" + url)) == "/app/account/security?error=email_in_use"


def test_s43_signing_out_also_leads_to_the_providers_end(house, somebody):
    person = somebody()
    person.sign_in("oidc")

    body = person.api("POST", "/api/auth/logout").json()

    assert body["message"] == "logged out"
    assert body["redirect"].startswith(f"{house[1].url}/session/end?client_id=webapp")
    local = somebody()
    local.sign_in("github")
    assert local.api("POST", "/api/auth/logout").json() == {"message": "logged out"}


@pytest.mark.parametrize("path", ["/api/auth/github/login", "/api/auth/oidc/callback"])
def test_a_post_starts_and_ends_nothing(house, path):
    answer = httpx.post(house[0].url + path)

    assert where(answer).startswith("/login?next=")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_s42_a_second_factor_holds_after_a_provider_too(house, somebody, provider):
    person = somebody()
    person.sign_in(provider)
    secret = person.api("POST", "/api/auth/mfa/totp/start", {}).json()["secret"]
    set_up = person.api("POST", "/api/auth/mfa/totp", {"code": code_of(secret)})
    assert set_up.status_code == 201

    again = Person(house[0], person.login)
    assert where(again.sign_in(provider)) == "/login/code"
    assert again.me() is None
    assert again.api("POST", "/api/auth/mfa", {"code": next_code_of(secret)}).status_code == 200
    assert again.me()["email"] == f"{person.login}@idp.example"
