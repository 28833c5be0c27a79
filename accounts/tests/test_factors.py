"""Second factors (W-29, S-34, S-42): codes once, on every way of signing in, and asked for where they must be."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth as totp
from django.core.management import call_command
from django.db import connection, connections

from accounts.factors import authenticators
from accounts.models import Session, TotpCounter, User
from tests.people import PASSWORD, Api, sign_in

pytestmark = pytest.mark.django_db


def code_at(secret, counter):
    return totp.format_hotp_value(totp.hotp_value(secret, counter))


def code_of(secret):
    """That of now; it is good for this step of 30 s and the next one."""
    return code_at(secret, int(time.time()) // 30)


def next_code_of(secret):
    """One later than a code of this test, also where a new step begins in the middle of the test."""
    return code_at(secret, int(time.time()) // 30 + 1)


def log_in(user):
    api = Api()
    return api, api.post("/api/auth/login", {"email": user.email, "password": PASSWORD})


@pytest.fixture
def guarded(bob):
    """bob with one-time codes: his browser, the secret, the recovery codes."""
    browser = sign_in(bob)
    secret = browser.post("/api/auth/mfa/totp/start").json()["secret"]
    made = browser.post("/api/auth/mfa/totp", {"code": code_of(secret)})
    assert made.status_code == 201, made.content
    return browser, secret, made.json()["recovery_codes"]


def test_s42_a_password_alone_leaves_the_sign_in_half_open(guarded, bob):
    _, secret, _ = guarded
    api, answer = log_in(bob)

    assert answer.json() == {"mfa_required": True, "methods": ["totp", "recovery_codes"]}
    for path in ("/api/auth/me", "/v1/models", "/api/auth/sessions"):
        assert api.get(path).status_code == 401
    bearer = api.client.cookies["session"].value
    assert Api(key=bearer).get("/api/auth/me").status_code == 401

    wrong = api.post("/api/auth/mfa", {"code": "000000"})
    assert (wrong.status_code, wrong.json()) == (401, {"error": "invalid code"})
    done = api.post("/api/auth/mfa", {"code": next_code_of(secret)})
    assert done.json()["user"]["email"] == bob.email
    assert api.get("/api/auth/me").status_code == 200
    assert Api(key=bearer).get("/api/auth/me").status_code == 401  # a new session key (S-45)


def test_s34_a_code_counts_once_also_the_one_that_set_it_up(guarded, bob):
    _, secret, _ = guarded
    set_up_with = TotpCounter.objects.get().counter
    for counter, first_time in ((set_up_with, 401), (set_up_with + 1, 200)):
        code = {"code": code_at(secret, counter)}
        api, _ = log_in(bob)
        first = api.post("/api/auth/mfa", code)
        again, _ = log_in(bob)
        second = again.post("/api/auth/mfa", code)
        assert first.status_code == first_time
        assert second.status_code == 401


@pytest.mark.django_db(transaction=True)
def test_s34_of_many_who_show_one_code_at_once_one_comes_in(guarded, bob):
    _, secret, _ = guarded
    code = next_code_of(secret)

    def use(_):
        try:
            return authenticators.check_code(bob, code)
        except authenticators.WrongCodeError:
            return None
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(use, range(8)))

    assert sorted(found, key=str) == [None] * 7 + ["totp"]


def test_a_recovery_code_counts_once(guarded, bob):
    _, _, codes = guarded
    api, _ = log_in(bob)
    assert api.post("/api/auth/mfa", {"code": codes[0]}).status_code == 200
    again, _ = log_in(bob)
    assert again.post("/api/auth/mfa", {"code": codes[0]}).status_code == 401
    assert api.get("/api/auth/mfa").json()["recovery_codes_left"] == len(codes) - 1


def test_secrets_are_encrypted_at_rest(guarded):
    _, secret, codes = guarded
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT data FROM {Authenticator._meta.db_table}")
        stored = str(cursor.fetchall())

    assert secret not in stored
    assert not any(code in stored for code in codes)
    assert not any(secret in row.session_data for row in Session.objects.all())


def test_no_answer_gives_a_secret_back(guarded):
    browser, secret, codes = guarded

    text = (
        browser.get("/api/auth/mfa").content.decode() + browser.get("/api/auth/me").content.decode()
    )

    assert secret not in text
    assert not any(code in text for code in codes)


def test_taking_it_away_wants_a_code(guarded, bob):
    browser, secret, codes = guarded
    assert browser.delete("/api/auth/mfa/totp").status_code == 401
    assert browser("DELETE", "/api/auth/mfa/totp", {"code": codes[0]}).status_code == 200
    assert not Authenticator.objects.filter(user=bob).exists()
    assert log_in(bob)[1].json()["user"]["email"] == bob.email
    assert secret


def test_new_recovery_codes_end_the_old_ones(guarded, bob):
    browser, secret, codes = guarded
    fresh = browser.post("/api/auth/mfa/recovery-codes", {"code": next_code_of(secret)}).json()
    api, _ = log_in(bob)

    assert api.post("/api/auth/mfa", {"code": codes[1]}).status_code == 401
    assert api.post("/api/auth/mfa", {"code": fresh["recovery_codes"][1]}).status_code == 200


def test_keys_go_on_and_set_up_nothing(guarded, bob, make_key):
    _, secret = make_key(bob)
    key = Api(key=secret)

    assert key.get("/api/auth/me").status_code == 200
    assert key.post("/api/auth/mfa/totp/start").status_code == 403


@pytest.fixture
def required(settings):
    def set_to(rule):
        settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"require_mfa": rule})

    return set_to


@pytest.mark.parametrize(
    "row", [("all", "bob", True), ("admins", "bob", False), ("admins", "alice", True)]
)
def test_where_a_factor_is_required_a_session_may_only_set_one_up(required, alice, bob, row):
    rule, who, held = row
    required(rule)
    browser = sign_in({"alice": alice, "bob": bob}[who])

    assert browser.get("/api/auth/sessions").status_code == (403 if held else 200)
    assert browser.get("/v1/models").status_code == (403 if held else 200)
    assert browser.get("/api/auth/me").status_code == 200
    if held:
        assert browser.get("/app", Accept="text/html").headers["location"] == "/factor"
        secret = browser.post("/api/auth/mfa/totp/start").json()["secret"]
        assert browser.post("/api/auth/mfa/totp", {"code": code_of(secret)}).status_code == 201
        assert browser.get("/api/auth/sessions").status_code == 200


def test_the_pages_of_a_second_factor(bob):
    browser = sign_in(bob)
    page = browser.client.get("/factor").content.decode()
    secret = re.search(r'id="secret" readonly value="([^"]+)"', page)[1]
    assert "<svg" in page
    done = browser.client.post("/factor", {"code": code_of(secret)}).content.decode()
    recovery = done.split('id="recovery-codes">')[1].split()[0]

    fresh = Api()
    form = {"email": bob.email, "password": PASSWORD}
    assert fresh.client.post("/login", form).headers["location"] == "/login/code"
    assert fresh.client.get("/app").status_code == 302
    assert fresh.client.post("/login/code", {"code": "1"}).status_code == 422
    assert fresh.client.post("/login/code", {"code": recovery}).headers["location"] == "/app"
    assert fresh.get("/api/auth/me").status_code == 200


def test_r24_who_owes_a_factor_comes_back_to_where_they_wanted_to_go(guarded, bob):
    _, _, recovery = guarded
    fresh = Api()
    form = {"email": bob.email, "password": PASSWORD, "next": "/app/usage?period=day"}

    asked = fresh.client.post("/login", form).headers["location"]
    page = fresh.client.get(asked).content.decode()

    assert asked == "/login/code?next=%2Fapp%2Fusage%3Fperiod%3Dday"
    (wanted,) = re.findall(r'name="next" value="([^"]*)"', page)
    assert wanted == form["next"]
    refused = fresh.client.post("/login/code", {"code": "1", "next": wanted})
    assert f'name="next" value="{wanted}"' in refused.content.decode()
    for path, expected in (("//evil.example", "/app"), (wanted, wanted)):
        again = Api()
        again.client.post("/login", {**form, "next": path})
        code = {"code": recovery.pop(), "next": path}
        assert again.client.post("/login/code", code).headers["location"] == expected


def test_wrong_codes_are_slowed(guarded, bob, limited):
    limited(auth_rate_limit="1000/m")
    api, _ = log_in(bob)

    answers = [api.post("/api/auth/mfa", {"code": "000000"}).status_code for _ in range(11)]

    assert answers == [401] * 10 + [429]


def test_a_half_open_sign_in_ends_by_itself_and_with_the_account(guarded, bob, monkeypatch):
    _, secret, _ = guarded
    api, _ = log_in(bob)
    real = time.time
    monkeypatch.setattr("accounts.factors.challenge.time.time", lambda: real() + 601)
    assert api.post("/api/auth/mfa", {"code": next_code_of(secret)}).status_code == 401
    monkeypatch.undo()
    api, _ = log_in(bob)
    User.objects.filter(pk=bob.pk).update(status="disabled")
    assert api.post("/api/auth/mfa", {"code": next_code_of(secret)}).status_code == 401


def test_an_operator_removes_what_was_lost(guarded, bob):
    call_command("resetfactors", bob.email)

    assert not TotpCounter.objects.exists()
    assert log_in(bob)[1].json()["user"]["email"] == bob.email


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"code": ""},
        {"code": "x" * 5000},
        {"credential": "x"},
        {"credential": {}},
        {"credential": {"response": 5}},
    ],
)
def test_nonsense_signs_nobody_in(guarded, bob, body):
    api, _ = log_in(bob)
    assert api.post("/api/auth/mfa", body).status_code in {400, 401}
    assert Api().post("/api/auth/mfa", body).status_code in {400, 401}
    assert Api().post("/api/auth/passkey", body).status_code in {400, 401}
