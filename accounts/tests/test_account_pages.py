"""An account's own pages: profile, security, keys (R-24, E-08 to E-13, S-25); also with hostile names."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.factors import authenticators
from accounts.models import ApiKey, AuditRecord, Session, User
from accounts.tests.test_factors import code_of, next_code_of
from accounts.tests.test_pages import form
from tests.people import PASSWORD, Api, sign_in

HOSTILE = '<img src=x onerror=alert(1)>"\u202e{{ 7 }}'
NEW = "a wholly different phrase"
PAGES = ("/app/account", "/app/account/security", "/app/account/keys")


def text_of(answer):
    return answer.content.decode()


@pytest.fixture
def strict_bob(bob):
    """Bob in a browser whose forms are checked for their token."""
    api = sign_in(bob)
    api.client.handler.enforce_csrf_checks = True
    return api


@pytest.mark.parametrize("path", PAGES)
def test_r24_the_pages_are_their_owners_alone(path, bob, as_bob, make_key):
    assert as_bob.get(path).status_code == 200
    anonymous = Api().get(path)
    assert (anonymous.status_code, anonymous.headers["location"].split("?")[0]) == (302, "/login")
    by_key = Api(key=make_key(bob)[1]).get(path)
    assert by_key.status_code == 302
    assert Api(key="legacy-key-one").get(path).status_code == 302


def test_e08_the_profile_is_saved_and_recorded(strict_bob, bob):
    answer = form(
        strict_bob, "/app/account", name=" Bobby ", avatar_url="https://example.org/b.png"
    )

    assert (answer.status_code, answer.headers["location"]) == (302, "/app/account")
    after = User.objects.get(pk=bob.pk)
    assert (after.name, after.avatar_url) == ("Bobby", "https://example.org/b.png")
    assert AuditRecord.objects.filter(action="profile_changed").count() == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "  "}, "Enter a name."),
        ({"name": "x" * 101}, "Use at most 100 characters."),
        ({"name": "b", "avatar_url": "javascript:alert(1)"}, "https:// or http://"),
        ({"name": "b", "avatar_url": "https://[bad"}, "This is not an address."),
        ({"name": "b", "avatar_url": "https://e/" + "x" * 512}, "at most 512"),
    ],
)
def test_e08_what_is_refused_is_said_at_its_field(strict_bob, bob, fields, words):
    answer = form(strict_bob, "/app/account", **{"avatar_url": "", **fields})

    assert answer.status_code == 422
    assert words in text_of(answer)
    assert 'aria-invalid="true"' in text_of(answer)
    assert User.objects.get(pk=bob.pk).name == bob.name


@pytest.mark.parametrize("path", PAGES)
def test_hostile_names_are_text(path, bob, as_bob, make_key):
    User.objects.filter(pk=bob.pk).update(name=HOSTILE)
    Session.objects.filter(user=bob).update(address="<b>1</b>", user_agent="<i>")
    ApiKey.objects.all().delete()
    make_key(bob, name=HOSTILE)

    shown = text_of(as_bob.get(path))

    assert "<img src=x" not in shown
    assert "<b>1" not in shown


def test_r38_no_page_leads_a_browser_to_another_server(bob, as_bob):
    User.objects.filter(pk=bob.pk).update(avatar_url="https://tracker.example/a.png")

    shown = text_of(as_bob.get("/app/account"))

    assert not re.search(r'(?:src|srcset|href)="https?://tracker', shown)


def test_e09_the_password_is_changed_and_others_are_signed_out(strict_bob, bob):
    elsewhere = sign_in(bob)

    answer = form(
        strict_bob, "/app/account/security", current=PASSWORD, password=NEW, password2=NEW
    )

    assert (answer.status_code, answer.headers["location"]) == (302, "/app/account/security")
    assert strict_bob.get("/app/account").status_code == 200
    assert elsewhere.get("/api/auth/me").status_code == 401
    assert User.objects.get(pk=bob.pk).check_password(NEW)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"current": "wrong one"}, "The current password is wrong."),
        ({"password2": "another"}, "The two passwords differ."),
        ({"password": "short", "password2": "short"}, "at least 12 characters"),
    ],
)
def test_e09_what_is_refused(strict_bob, bob, fields, words):
    given = {"current": PASSWORD, "password": NEW, "password2": NEW, **fields}
    answer = form(strict_bob, "/app/account/security", **given)

    assert answer.status_code == 422
    assert words in text_of(answer)
    assert User.objects.get(pk=bob.pk).check_password(PASSWORD)


def test_s36_a_weak_password_may_be_acknowledged(strict_bob, bob):
    weak = {"current": PASSWORD, "password": "password12345", "password2": "password12345"}
    first = form(strict_bob, "/app/account/security", **weak)
    assert "Use this password anyway" in text_of(first)

    form(strict_bob, "/app/account/security", **weak, acknowledge="on")

    assert User.objects.get(pk=bob.pk).check_password("password12345")


def test_s25_sessions_end_one_by_one_and_all_others(strict_bob, bob):
    elsewhere, third = sign_in(bob), sign_in(bob)
    mine = Session.objects.filter(user=bob).order_by("created_at")
    second = mine[1]

    form(strict_bob, f"/app/account/sessions/{second.public_id}/end", "/app/account/security")
    assert elsewhere.get("/api/auth/me").status_code == 401
    assert third.get("/api/auth/me").status_code == 200

    form(strict_bob, "/app/account/sessions/end", "/app/account/security")
    assert third.get("/api/auth/me").status_code == 401
    assert strict_bob.get("/app/account/security").status_code == 200
    actions = set(AuditRecord.objects.values_list("action", flat=True))
    assert {"session_ended", "sessions_ended"} <= actions


def test_s25_nobody_ends_another_persons_session(strict_bob, mallory):
    other = sign_in(mallory)
    theirs = Session.objects.get(user=mallory)

    form(strict_bob, f"/app/account/sessions/{theirs.public_id}/end", "/app/account/security")

    assert other.get("/api/auth/me").status_code == 200


def test_s25_no_session_key_is_in_a_page(strict_bob, bob):
    shown = text_of(strict_bob.get("/app/account/security"))

    assert Session.objects.get(user=bob).session_key not in shown


def test_second_factors_are_switched_off_with_a_code_alone(strict_bob, bob):
    secret = strict_bob.post("/api/auth/mfa/totp/start").json()["secret"]
    strict_bob.post("/api/auth/mfa/totp", {"code": code_of(secret)})
    shown = text_of(strict_bob.get("/app/account/security"))
    assert "Switch off" in shown
    path = "/app/account/factors/codes/remove"

    wrong = form(strict_bob, path, "/app/account/security", code="000000")
    assert wrong.status_code == 422
    assert "Wrong code." in text_of(wrong)
    assert authenticators.methods_of(bob)

    right = form(strict_bob, path, "/app/account/security", code=next_code_of(secret))
    assert right.status_code == 302
    assert not authenticators.methods_of(bob)


def test_e11_a_key_is_shown_once(strict_bob, bob):
    made = form(strict_bob, "/app/account/keys", name="backup job", expires="30d")

    assert made.status_code == 200
    (secret,) = re.findall(r'value="(lai-[0-9a-f]{64})"', text_of(made))
    assert Api(key=secret).get("/api/auth/me").status_code == 200
    key = ApiKey.objects.get(user=bob)
    assert (key.expires_at - key.created_at).days in {29, 30}
    again = text_of(strict_bob.get("/app/account/keys"))
    assert secret not in again
    assert "backup job" in again


def test_s05_a_key_may_end_on_a_date(strict_bob, bob):
    late = form(strict_bob, "/app/account/keys", name="k", expires="date", expires_on="2020-01-01")
    assert late.status_code == 422
    assert "Choose a date in the future." in text_of(late)
    none = form(strict_bob, "/app/account/keys", name="k", expires="date", expires_on="2031-02-31")
    assert "Choose a date." in text_of(none)

    form(strict_bob, "/app/account/keys", name="k", expires="date", expires_on="2031-02-28")

    assert str(ApiKey.objects.get(user=bob).expires_at) == "2031-02-28 23:59:59+00:00"


@pytest.mark.parametrize("fields", [{"name": " "}, {"name": "x" * 101}, {"expires": "0d"}])
def test_e11_what_is_refused(strict_bob, bob, fields):
    answer = form(strict_bob, "/app/account/keys", **{"name": "k", "expires": "", **fields})

    assert answer.status_code == 422
    assert not ApiKey.objects.filter(user=bob).exists()


def test_e13_a_key_is_asked_about_and_then_revoked(strict_bob, bob, make_key):
    key, secret = make_key(bob, name=HOSTILE)
    path = f"/app/account/keys/{key.pk}/revoke"
    asked = strict_bob.get(path, x_over="1")
    assert text_of(asked).lstrip().startswith("<dialog")
    assert "<html" in text_of(strict_bob.get(path))
    assert "<img src=x" not in text_of(asked)

    answer = form(strict_bob, path)

    assert (answer.status_code, answer.headers["location"]) == (302, "/app/account/keys")
    assert Api(key=secret).get("/api/auth/me").status_code == 401
    assert strict_bob.get(path).status_code == 404


def test_e13_another_persons_key_is_not_there(strict_bob, mallory, make_key):
    key, secret = make_key(mallory)

    assert strict_bob.get(f"/app/account/keys/{key.pk}/revoke").status_code == 404
    answer = form(strict_bob, f"/app/account/keys/{key.pk}/revoke", "/app/account/keys")

    assert answer.status_code == 404
    assert Api(key=secret).get("/api/auth/me").status_code == 200


@pytest.mark.parametrize("path", PAGES)
def test_the_number_of_queries_does_not_grow(
    path, bob, as_bob, make_key, django_assert_max_num_queries
):
    as_bob.get(path)
    with CaptureQueriesContext(connection) as before:
        as_bob.get(path)
    few = len(before)
    for n in range(30):
        make_key(bob, name=f"key {n}")
    for _ in range(3):
        sign_in(bob)

    with django_assert_max_num_queries(few):
        as_bob.get(path)
