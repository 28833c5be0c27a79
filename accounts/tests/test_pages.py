"""The pages of the tour: sign-in, registration, invite, waiting, home, keys, sign-out."""

import re

import pytest

from accounts.models import ApiKey, User
from tests.people import PASSWORD, Api

GOOD = "a long enough pass phrase"


def form(api, url, page="", **fields):
    """Load `page` for its token, then post the form."""
    shown = api.get(page or url, accept="text/html").content.decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', shown)
    data = {**fields, "csrfmiddlewaretoken": token[1] if token else ""}
    return api.client.post(url, data)


@pytest.fixture
def strict():
    """A browser whose forms are checked for their token, as in a real server."""
    api = Api()
    api.client.handler.enforce_csrf_checks = True
    return api


def test_s24_anonymous_pages_lead_to_sign_in_and_back(strict, bob):
    answer = strict.get("/app")
    assert (answer.status_code, answer.headers["location"]) == (302, "/login?next=%2Fapp")

    answer = form(
        strict, "/login", "/login?next=%2Fapp", email=bob.email, password=PASSWORD, next="/app"
    )

    assert (answer.status_code, answer.headers["location"]) == (302, "/app")
    assert b"Your first request" in strict.get("/app").content


@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "/\\evil", "javascript:alert(1)"]
)
def test_sign_in_leads_to_our_own_pages_only(strict, bob, target):
    answer = form(strict, "/login", email=bob.email, password=PASSWORD, next=target)

    assert answer.headers["location"] == "/app"


def test_the_first_visitor_makes_the_admin_account(db, strict):
    assert strict.get("/login").headers["location"] == "/register"
    assert b"Create admin account" in strict.get("/register").content

    answer = form(strict, "/register", email="me@x.org", name="Me", password=GOOD, password2=GOOD)

    assert answer.headers["location"] == "/app"
    assert User.objects.get().role == "admin"


def test_a_form_without_its_token_is_refused(strict, bob):
    answer = strict.client.post("/login", {"email": bob.email, "password": PASSWORD})

    assert answer.status_code == 403


def test_wrong_passwords_and_weak_ones_are_said_in_plain_words(strict, bob):
    wrong = form(strict, "/login", email=bob.email, password="x")
    weak = form(
        strict, "/register", email="n@x.org", password="password1234", password2="password1234"
    )
    differ = form(strict, "/register", email="n@x.org", password=GOOD, password2="other")

    assert wrong.status_code == 422
    assert b"Wrong email or password." in wrong.content
    assert b"Use this password anyway" in weak.content
    assert b"The two passwords differ." in differ.content
    assert User.objects.filter(email="n@x.org").count() == 0


def test_an_invite_link_registers_without_approval(strict, as_alice):
    code = as_alice.post("/api/auth/admin/invites").json()["code"]
    page = f"/invite/{code}"
    assert code.encode() in strict.get(page).content

    answer = form(
        strict, "/register", page, email="n@x.org", password=GOOD, password2=GOOD, invite_code=code
    )

    assert answer.headers["location"] == "/app"


def test_without_an_invite_one_waits(strict, alice):
    answer = form(strict, "/register", email="n@x.org", password=GOOD, password2=GOOD)

    assert answer.headers["location"] == "/waiting"
    assert b"You are waiting for approval" in strict.get("/waiting").content
    answer = form(strict, "/login", email="n@x.org", password=GOOD)
    assert answer.headers["location"] == "/waiting"


def test_a_key_is_made_shown_once_and_revoked_on_the_home_page(as_bob):
    answer = form(as_bob, "/app/keys", "/app", name="notebook", expires="90d")
    secret = re.search(r'value="(lai-[0-9a-f]{64})"', answer.content.decode())[1]

    assert Api(key=secret).get("/api/auth/me").status_code == 200
    assert secret not in as_bob.get("/app").content.decode()
    answer = form(as_bob, f"/app/keys/{ApiKey.objects.get().pk}/revoke", "/app")
    assert answer.status_code == 302
    assert Api(key=secret).get("/api/auth/me").status_code == 401


def test_names_are_escaped(as_bob):
    form(as_bob, "/app/keys", "/app", name="<script>alert(1)</script>", expires="")

    assert "<script>alert" not in as_bob.get("/app").content.decode()


def test_sign_out_ends_the_session(as_bob):
    answer = form(as_bob, "/logout", "/app")

    assert answer.headers["location"] == "/login"
    assert as_bob.get("/app").status_code == 302


def test_home_and_root(as_bob, anonymous):
    assert as_bob.get("/").headers["location"] == "/app"
    assert as_bob.get("/app/nothing", accept="text/html").status_code == 404
    assert b"There is nothing here" in as_bob.get("/app/nothing", accept="text/html").content


def test_no_page_has_inline_script_or_style(as_alice, anonymous, strict):
    pages = [as_alice.get(p).content.decode() for p in ("/app", "/app/nothing")]
    pages += [
        Api().get(p).content.decode() for p in ("/login", "/login?key", "/register", "/waiting")
    ]

    for shown in pages:
        assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|style=|javascript:", shown)


def test_the_home_page_asks_a_fixed_number_of_queries(
    as_bob, bob, make_key, django_assert_max_num_queries
):
    for i in range(20):
        make_key(bob, name=f"k{i}")

    with django_assert_max_num_queries(12):
        assert as_bob.get("/app").status_code == 200
