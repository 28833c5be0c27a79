"""The pages before sign-in: each error of the contract in plain words, beside the field it is about."""

import re

import pytest
from django.utils import timezone

from accounts import invites
from accounts.audit import CLI
from accounts.models import User
from accounts.tests.test_pages import GOOD, form
from accounts.wording import _SOCIAL
from tests.people import PASSWORD, Api

HOSTILE = "<script>alert(1)</script>\u202e"


def shown(api, path, **headers):
    answer = api.get(path, accept="text/html", **headers)
    assert answer.status_code == 200
    return answer.content.decode()


def register(api, **fields):
    given = {"email": "n@x.org", "name": "N", "password": GOOD, "password2": GOOD, **fields}
    return form(api, "/register", **given)


def error_beside(html, field):
    """What stands under a field, tied to it for screen readers."""
    assert re.search(
        rf'id="{field}"[^>]*aria-describedby="{field}-d"[^>]*aria-invalid="true"', html
    )
    return re.search(rf'id="{field}-d">.*?<span>(.*?)</span>', html)[1]


@pytest.fixture
def invite(alice):
    return invites.create(created_by=alice, hours=1, now=timezone.now(), by=CLI)[1]


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"password": "short", "password2": "short"}, "password", "Use at least 12 characters."),
        ({"password": "", "password2": ""}, "password", "Enter a password."),
        ({"password": "a" * 73, "password2": "a" * 73}, "password", "Use at most 72 bytes."),
        ({"password": f"{GOOD}\0", "password2": f"{GOOD}\0"}, "password", "This character cannot"),
        ({"password": "password1234", "password2": "password1234"}, "password", "Easy to guess"),
        ({"password2": "other"}, "password2", "The two passwords differ."),
        ({"email": "no address"}, "email", "This is not an email address."),
    ],
)
def test_what_is_wrong_with_a_registration_stands_beside_its_field(alice, fields, field, words):
    """Contract 1.1, E-02; identity S-36."""
    answer = register(Api(), **fields)

    assert answer.status_code == 422
    assert error_beside(answer.content.decode(), field).startswith(words)


def test_a_weak_password_may_be_insisted_on(alice):
    weak = register(Api(), password="password1234", password2="password1234")
    assert b'name="acknowledge"' in weak.content
    given = {"password": "password1234", "password2": "password1234", "acknowledge": "on"}
    assert register(Api(), **given).status_code == 302


def test_what_was_typed_stays_but_never_the_password(alice):
    answer = register(Api(), name="Noor", password="tiny-secret", password2="tiny-secret")
    html = answer.content.decode()
    assert 'value="Noor"' in html
    assert 'value="n@x.org"' in html
    assert "tiny-secret" not in html


def test_an_invite_link_names_who_invited_and_fills_the_code_in(anonymous, alice, invite):
    """GET /invite/:code (6.2 of accounts-and-usage)."""
    User.objects.filter(pk=alice.pk).update(name=HOSTILE)
    html = shown(anonymous, f"/invite/{invite}")
    assert f'value="{invite}"' in html
    assert "readonly" in html
    assert "No approval needed." in html
    assert "<script>alert" not in html


@pytest.mark.parametrize("code", ["wrong", "é", "x" * 300, "<script>"])
def test_a_used_or_wrong_invite_is_said_at_once(anonymous, alice, code):
    html = shown(anonymous, f"/invite/{code}")
    assert "This invite is used or expired." in html
    assert "<script>" not in html.replace("<script src", "")


def test_a_used_invite_is_said_when_the_form_is_sent(alice, invite):
    assert register(Api(), invite_code=invite).headers["location"] == "/app"
    again = register(Api(), email="o@x.org", invite_code=invite)
    assert again.status_code == 422
    assert b"This invite is used or expired." in again.content


@pytest.mark.parametrize("code", sorted(_SOCIAL))
def test_each_refusal_of_a_provider_has_words(anonymous, alice, code):
    """S-40."""
    assert 'class="note bad" role="alert"' in shown(anonymous, f"/login?error={code}")


def test_an_unknown_code_in_the_address_says_nothing(anonymous, alice):
    assert 'role="alert"><svg' not in shown(anonymous, "/login?error=<b>")


def test_a_disabled_account_is_told_so(make_user, alice):
    make_user("off@x.org", status="disabled")
    answer = form(Api(), "/login", email="off@x.org", password=PASSWORD)
    assert b"This account is disabled." in answer.content


def test_too_many_tries_say_when_to_come_back(alice, settings):
    changed = settings.GATEHOUSE.model_copy(update={"auth_rate_limit": "1/m"})
    settings.GATEHOUSE = changed
    api = Api()
    form(api, "/login", email="alice@example.org", password="x")
    answer = form(api, "/login", email="alice@example.org", password="x")
    assert answer.status_code == 422
    assert re.search(
        r"Too many tries.</strong> You can try again in \d+ seconds?\.", str(answer.content)
    )


# --- waiting -----------------------------------------------------------------------------------


def test_who_registered_sees_how_it_stands(alice):
    api = Api()
    assert register(api).headers["location"] == "/waiting"
    html = shown(api, "/waiting")
    assert "You are waiting for approval" in html
    assert "n@x.org" in html

    User.objects.filter(email="n@x.org").update(status="active")

    assert "Your account is approved" in shown(api, "/waiting")


def test_s33_a_taken_address_waits_on_the_same_page(alice, bob):
    new, taken = Api(), Api()
    register(new)
    answer = register(taken, email=bob.email)
    assert answer.headers["location"] == "/waiting"

    pages = [shown(new, "/waiting"), shown(taken, "/waiting").replace(bob.email, "n@x.org")]

    plain = [
        re.sub(r"csrf\w+\" value=\"\w+\"|<time.*?</time>|data-csrf=\S+", "", each) for each in pages
    ]
    assert plain[0] == plain[1]


def test_a_sign_in_with_the_right_password_leads_to_the_same_page(alice, make_user):
    make_user("p@x.org", status="pending")
    api = Api()
    answer = form(api, "/login", email="p@x.org", password=PASSWORD)
    assert answer.headers["location"] == "/waiting"
    assert "p@x.org" in shown(api, "/waiting")


def test_the_waiting_page_forgets_on_sign_out(alice):
    api = Api()
    register(api)
    assert form(api, "/waiting").headers["location"] == "/login"
    assert "n@x.org" not in shown(api, "/waiting")


def test_a_forged_cookie_shows_nothing(anonymous, alice):
    anonymous.client.cookies["waiting"] = (
        '["00000000-0000-0000-0000-000000000000","a@b.c","2026-01-01"]'
    )
    assert "a@b.c" not in shown(anonymous, "/waiting")


# --- errors --------------------------------------------------------------------------------------


def test_a_form_that_is_an_admins_gets_a_page(as_bob):
    answer = form(as_bob, "/app/system/check", "/app")
    assert answer.status_code == 403
    answer = as_bob.client.post("/app/system/check", headers={"accept": "text/html"})
    assert answer.status_code == 403
    assert b"This page is for administrators" in answer.content


def test_an_expired_form_says_that_nothing_was_changed(bob):
    api = Api()
    api.client.handler.enforce_csrf_checks = True
    answer = api.client.post("/login", {"email": bob.email}, headers={"accept": "text/html"})
    assert answer.status_code == 403
    assert b"This form has expired" in answer.content


def test_a_fault_of_the_server_shows_its_reference_and_nothing_else(as_bob, monkeypatch):
    def broken(*_a, **_k):
        raise RuntimeError("SELECT secret FROM /etc/passwd")

    monkeypatch.setattr("chat.ui.home_pages.setup_steps", broken)
    answer = as_bob.get("/app", accept="text/html")
    html = answer.content.decode()
    assert answer.status_code == 500
    assert answer.headers["X-Correlation-ID"] in html
    assert "SELECT" not in html
    assert "Traceback" not in html


@pytest.mark.parametrize(
    "path", ["/login", "/register", "/forgot", "/waiting", "/login?key", "/reset/x", "/verify/x"]
)
def test_pages_before_sign_in_ask_little(anonymous, alice, django_assert_max_num_queries, path):
    shown(anonymous, path)
    with django_assert_max_num_queries(4):
        shown(anonymous, path)
