"""The frame of pages on the server: sidebar by rights, theme, language, fixed numbers of queries."""

import re

import pytest

from accounts.gate import requirement_for
from accounts.models import User
from accounts.tests.test_pages import form
from accounts.ui.navigation import SIDEBAR


def links_of(html):
    nav = html[html.index('<div class="nav">') : html.index('<div class="foot">')]
    return re.findall(r'<a href="([^"]+)"', nav)


def page_of(api, path="/app", **headers):
    answer = api.get(path, accept="text/html", **headers)
    assert answer.status_code == 200, answer.content[:2000]
    return answer.content.decode()


def test_the_sidebar_shows_what_one_may_open_and_nothing_else(as_alice, as_bob):
    """Section 6.6: an admin's lines are not there for a user, and every line shown leads to a page."""
    admins, users = links_of(page_of(as_alice)), links_of(page_of(as_bob))

    assert "/app/system" in admins
    assert "/app/system" not in users
    assert set(users) < set(admins)
    for api, links in ((as_alice, admins), (as_bob, users)):
        for path in links:
            assert api.get(path, accept="text/html").status_code == 200, path


def test_every_page_of_the_sidebar_has_a_line_in_the_gates_table():
    from django.urls import NoReverseMatch, reverse

    for name in [page for section in SIDEBAR for line in section.lines for page in line.pages]:
        try:
            reverse(name)
        except NoReverseMatch:
            continue
        assert requirement_for(name, "GET"), name


def test_every_page_names_its_current_line(as_alice):
    html = page_of(as_alice, "/app/system")

    assert re.findall(r'<a href="([^"]+)" aria-current="page"', html) == ["/app/system"]


def test_the_number_of_waiting_people_stands_beside_users(as_alice, make_user):
    assert 'class="count"' not in page_of(as_alice)
    make_user("new@example.org", status="pending")
    assert re.search(r'class="count">.*?</span>1</span>', page_of(as_alice))


def test_components_shows_every_part(as_alice, as_bob):
    html = page_of(as_alice, "/app/components")

    for part in ("panel", "codeblock", "dialog", "empty", "skel", "toast", "switch", "tabs", "seg"):
        assert f'class="{part}' in html, part
    assert as_bob.get("/app/components", accept="text/html").status_code == 302


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_theme_is_the_accounts(as_bob, bob, theme):
    assert "data-theme=" not in page_of(as_bob)

    answer = form(as_bob, "/app/preferences", "/app", theme=theme)

    assert answer.status_code == 302
    assert f'data-theme="{theme}"' in page_of(as_bob)
    bob.refresh_from_db()
    assert bob.theme == theme


def test_a_browser_keeps_its_theme_after_signing_out(as_bob):
    form(as_bob, "/app/preferences", "/app", theme="dark")
    form(as_bob, "/logout", "/app")

    assert 'data-theme="dark"' in page_of(as_bob, "/login")


@pytest.mark.parametrize("wrong", [{"theme": "<b>"}, {"language": "xx"}, {"shortcuts": "maybe"}])
def test_unknown_preferences_change_nothing(as_bob, bob, wrong):
    form(as_bob, "/app/preferences", "/app", **wrong)

    kept = User.objects.get(pk=bob.pk)
    assert (kept.theme, kept.language, kept.shortcuts) == ("system", "", True)


def test_shortcuts_can_be_switched_off(as_bob):
    assert 'data-shortcuts="on"' in page_of(as_bob)
    form(as_bob, "/app/preferences", "/app", shortcuts="off")
    assert 'data-shortcuts="off"' in page_of(as_bob)


def test_the_accounts_language_beats_the_browsers(as_bob, anonymous):
    assert '<html lang="de" dir="ltr"' in page_of(
        anonymous, "/login", accept_language="de,en;q=0.5"
    )
    assert '<html lang="en" dir="ltr"' in page_of(anonymous, "/login", accept_language="fr")
    form(as_bob, "/app/preferences", "/app", language="de")
    assert '<html lang="de" dir="ltr"' in page_of(as_bob, accept_language="en")


@pytest.mark.parametrize("language", ["de", "ar", "en"])
def test_answers_for_programs_are_english_whatever_the_caller_reads(as_bob, language):
    """The contract's wording (4.5): the same bytes in every language."""
    form(as_bob, "/app/preferences", "/app", language="de")

    for method, path in (
        ("POST", "/api/auth/login"),
        ("GET", "/api/auth/admin/users"),
        ("PATCH", "/api/auth/me"),
        ("GET", "/api/nothing"),
        ("POST", "/v1/chat/completions"),
    ):
        given = as_bob(method, path, b"{", accept_language=language)
        plain = as_bob(method, path, b"{", accept_language="en")
        assert given.content == plain.content
        assert "Content-Language" not in given.headers


def test_a_preference_is_only_taken_back_to_a_page_of_ours(as_bob):
    answer = form(as_bob, "/app/preferences", "/app", theme="dark", next="https://evil.example/")
    assert answer.headers["location"] == "/app"


@pytest.mark.parametrize(
    ("came_from", "goes_to"),
    [
        ("http://localhost/app/usage?period=day", "/app/usage?period=day"),
        ("https://evil.example/app/account", "/app"),
        ("http://localhost//evil.example/", "/app"),
        ("http://[", "/app"),
        ("", "/app"),
    ],
)
def test_without_script_a_preference_leads_back_to_the_page_as_it_was(as_bob, came_from, goes_to):
    answer = as_bob.client.post(
        "/app/preferences", {"theme": "dark"}, headers={"referer": came_from}
    )
    assert answer.headers["location"] == goes_to


def test_signing_in_again_gives_a_new_token(as_bob, bob, anonymous):
    """A session that ended in mid-work."""
    shown = anonymous.get("/login/again", accept="text/html").content.decode()
    assert 'name="password"' in shown
    answer = form(anonymous, "/login/again", email=bob.email, password="wrong")
    assert answer.status_code == 422
    assert b"Wrong email or password." in answer.content
    answer = form(anonymous, "/login/again", email=bob.email, password="correct horse lamp")
    assert f'data-signed-in="{bob.pk}"' in answer.content.decode()
    assert page_of(anonymous)


def test_pages_make_a_fixed_number_of_queries(as_alice, as_bob, django_assert_num_queries):
    """A frame costs an admin two queries more: people waiting, operations."""
    page_of(as_alice, "/app/components")
    with django_assert_num_queries(4):  # session, user, waiting, operations
        page_of(as_alice, "/app/components")
