"""An admin runs a provider's sign-in as a test: it changes nothing and shows everything."""

from tests.identity.person import Person, where


def test_it_shows_the_claims_and_what_they_come_to_and_changes_nothing(house, somebody, as_admin):
    person = somebody(groups=["gatehouse-admins"], name="Tess Ting")

    page = as_admin.try_provider("oidc", person.login)

    assert "Would be signed in." in page
    assert "Tess Ting" in page
    assert "role admin" in page
    assert f"{person.login}@idp.example" in page
    with house[0].client() as admin:
        users = admin.get("/api/auth/admin/users").json()["users"]
    assert person.login not in str(users)
    assert as_admin.me()["email"] == "admin@example.org"  # still signed in as oneself


def test_a_refusal_by_the_rules_says_which(house, somebody, as_admin):
    taken = somebody()
    taken.sign_in("github")
    twin = somebody(email=taken.me()["email"])

    page = as_admin.try_provider("oidc", twin.login)

    assert "Refused: email_in_use" in page
    assert "another account has this address" in page


def test_nobody_else_runs_it_or_sees_it(house, somebody, as_admin):
    person = somebody()
    person.sign_in("oidc")
    assert person.form("/app/providers/oidc/test").status_code == 403
    stranger = Person(house[0], person.login)
    assert (
        where(stranger.http.get(as_admin.trial_callback("oidc", person.login)))
        == "/login?error=invalid_state"
    )
