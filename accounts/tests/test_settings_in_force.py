"""Which value of a setting counts, and what it then does (surface, section 5; R-08, R-09)."""

import pytest

from accounts import runtime
from accounts.models import ServerSetting, User
from accounts.tests.test_settings_api import DONE, URL, refused
from tests.people import PASSWORD, Api


@pytest.fixture
def fixed(settings):
    """The environment sets some of them."""

    def set_to(**fields):
        settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update=fields)
        runtime.forget_auth_mode()

    yield set_to
    runtime.forget_auth_mode()


FIXED = {
    "registration_mode": ("registration_mode", "invite", "invite", "open"),
    "cors": ("cors", True, True, False),
    "cors_allow_origins": ("cors_allow_origins", ["https://a.x", "*"], "https://a.x, *", ""),
    "csrf": ("disable_csrf", True, True, False),
}


@pytest.mark.parametrize("name", FIXED)
def test_r08_the_environment_wins_and_says_so(as_alice, fixed, name):
    """R-08: the same value is accepted, another is refused by the variable's name; GET lists it."""
    field, in_environment, same, other = FIXED[name]
    assert as_alice.post(URL, {name: other}).status_code == 200
    assert as_alice.post(URL, {name: same}).status_code == 200  # a row of before, which loses
    fixed(**{field: in_environment})
    variable = f"LOCALAI_{field.upper()}"

    shown = as_alice.get(URL).json()
    assert shown["environment"] == {name: variable}
    assert as_alice.post(URL, {name: same}).json() == DONE
    assert as_alice.post(URL, shown).json() == DONE
    error = refused(as_alice, {"threads": 4, name: other})
    assert variable in error
    assert name in error


def test_r08_a_real_environment_fixes_what_it_sets_and_nothing_else(
    as_alice, settings, monkeypatch
):
    monkeypatch.setenv("LOCALAI_CORS_ALLOW_ORIGINS", "https://a.example, https://b.example")
    monkeypatch.setenv("LOCALAI_CORS", "")  # empty is not set
    settings.GATEHOUSE = type(settings.GATEHOUSE)()

    shown = as_alice.get(URL).json()

    assert shown["environment"] == {"cors_allow_origins": "LOCALAI_CORS_ALLOW_ORIGINS"}
    assert shown["cors_allow_origins"] == "https://a.example,https://b.example"
    assert as_alice.post(URL, {"cors": True}).json() == DONE
    assert as_alice.get("/healthz", origin="https://b.example").headers["vary"] == "Origin"


def test_r08_a_row_of_before_loses_against_the_environment(as_alice, fixed):
    as_alice.post(URL, {"registration_mode": "open"})
    fixed(registration_mode="invite")

    assert as_alice.get(URL).json()["registration_mode"] == "invite"
    assert as_alice.get("/api/auth/status").json()["registrationMode"] == "invite"


def test_r09_the_registration_mode_counts_for_the_next_who_comes(as_alice):
    def come(name):
        body = {"email": f"{name}@example.org", "password": PASSWORD}
        assert Api().post("/api/auth/register", body).status_code < 300
        return User.objects.get(email=body["email"]).status

    assert come("one") == "pending"
    as_alice.post(URL, {"registration_mode": "open"})
    assert come("two") == "active"
    assert Api().get("/api/auth/status").json()["registrationMode"] == "open"
    as_alice.post(URL, {"registration_mode": "invite"})
    with pytest.raises(AssertionError):
        come("three")
    assert b"invite" in Api().get("/register").content.lower()


def test_set_cors_counts_for_the_next_answer(as_alice):
    """SET:cors, SET:cors_allow_origins (W-22, S-23)."""

    def allowed(origin):
        answer = Api().get("/healthz", origin=origin)
        return answer.headers.get("access-control-allow-origin")

    assert allowed("https://a.example") is None
    as_alice.post(URL, {"cors": True})
    assert allowed("https://a.example") == "*"
    as_alice.post(URL, {"cors_allow_origins": "https://a.example"})
    assert allowed("https://a.example") == "https://a.example"
    assert allowed("https://b.example") is None
    as_alice.post(URL, {"cors": False})
    assert allowed("https://a.example") is None


def test_set_csrf_switches_the_check_off_as_localai_has_it(as_alice):
    """SET:csrf is inverted: true is off (W-23)."""
    foreign = {"sec_fetch_site": "cross-site"}
    assert as_alice.post(URL, {"csrf": True}, **foreign).status_code == 403
    as_alice.post(URL, {"csrf": True})
    assert as_alice.post(URL, {"csrf": False}, **foreign).status_code == 200
    assert as_alice.post(URL, {"csrf": False}, **foreign).status_code == 403


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_only_admins_see_or_change_settings(as_alice, as_bob, make_key, alice, method):
    """The gate's line (contract 4.3), and its envelope (surface, section 0)."""
    assert as_alice(method, URL, {}).status_code == 200
    assert Api(key=make_key(alice)[1])(method, URL, {}).status_code == 200
    assert Api(key="legacy-key-one")(method, URL, {}).status_code == 200
    refusal = as_bob(method, URL, {"threads": 5})
    assert refusal.status_code == 403
    assert refusal.json()["error"]["message"] == "Admin access required"
    assert Api()(method, URL, {"threads": 5}).status_code == 401
    assert as_alice.get(URL).json()["threads"] == 0


def test_without_run_time_settings_both_routes_are_gone_and_nothing_stored_counts(as_alice, fixed):
    """DISABLE_RUNTIME_SETTINGS."""
    as_alice.post(URL, {"registration_mode": "open"})
    fixed(disable_runtime_settings=True)
    runtime.stored_settings().forget()

    assert as_alice.get(URL).status_code == as_alice.post(URL, {"threads": 1}).status_code == 404
    assert Api().get(URL).status_code == 401
    assert as_alice.get("/api/auth/status").json()["registrationMode"] == "approval"
    assert ServerSetting.objects.count() == 1
