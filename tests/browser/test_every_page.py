"""R-24: every page that exists, as whoever may open it sees it: whole, readable by all, light, and of our server alone.

What a page does is tested where it belongs; this walks the gate's table, so that a new page cannot be forgotten.
"""

from urllib.parse import quote

import httpx
import pytest
from django.urls import NoReverseMatch, reverse

from accounts.gate import GATE
from tests.browser.pages import assert_accessible, shoot, weighed

pytestmark = pytest.mark.timeout(300)
SCRIPT_BYTES, STYLE_BYTES = 60 * 1024, 30 * 1024
WIDTHS = (320, 360, 768, 1280, 2560)
NARROW_ENOUGH = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
BEFORE_SIGN_IN = ("/login", "/login?key", "/register", "/forgot", "/invite/abcdef", "/waiting")
# Fragments, moved addresses and what is no page of its own; each with why.
NOT_PAGES = {
    "home-setup": "a fragment",
    "system-live": "a fragment",
    "models-live": "a fragment",
    "backends-live": "a fragment",
    "operations-panel": "a fragment",
    "chat-list": "a fragment",
    "chat-quota": "a fragment",
    "home-models": "a fragment",
    "usage-page-csv": "a file",
    "model-install-page": "a form for what its query names",
}


def pages_for(*requirements: str) -> list[str]:
    """Addresses under /app that the gate opens to these, with none or one argument that is known."""
    found = set()
    for (name, method), requirement in GATE.items():
        if method != "GET" or requirement not in requirements or name in NOT_PAGES:
            continue
        try:
            address = reverse(name)
        except NoReverseMatch:
            continue
        if address.startswith("/app"):
            found.add(address)
    return sorted(found)


USERS = pages_for("user", "account", "session", "feature:chat")
ADMINS = pages_for("admin")


def look(page, address):
    """Open it and hold it against everything that is asked of any page."""
    with weighed(page) as loaded:
        answer = page.goto(address, wait_until="networkidle")
    assert answer.status == 200, f"{address}: {answer.status}"
    assert_light(loaded, address)
    assert page.locator("h1").count() == 1, address
    assert page.title().endswith("Gatehouse")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(NARROW_ENOUGH), f"{address} scrolls sideways at {width} px"
    page.set_viewport_size({"width": 1280, "height": 900})
    page.evaluate("document.documentElement.dir = 'rtl'")
    assert page.evaluate(NARROW_ENOUGH), f"{address} scrolls sideways from right to left"
    page.evaluate("document.documentElement.dir = 'ltr'")
    assert_accessible(page)
    shoot(page, address.strip("/").replace("/", "-").replace("?", "-"))


def assert_light(loaded, address):
    if address.startswith("/app/chat"):  # which says what it loads in its own test
        return
    assert loaded["script"] <= SCRIPT_BYTES, f"{address}: {loaded}"
    assert loaded["stylesheet"] <= STYLE_BYTES, f"{address}: {loaded}"


@pytest.mark.parametrize("address", BEFORE_SIGN_IN)
def test_r24_before_sign_in(anonymous_page, address):
    look(anonymous_page, address)


@pytest.mark.parametrize("address", USERS)
def test_r24_an_ordinary_user(user_page, address):
    look(user_page, address)


@pytest.mark.parametrize("address", sorted({*ADMINS, *USERS}))
def test_r24_an_admin(admin_page, address):
    look(admin_page, address)


def test_r24_the_signed_out_come_back_to_where_they_wanted_to_go(ui_server):
    for address in {*ADMINS, *USERS}:
        answer = httpx.get(ui_server.url + address)
        assert answer.status_code == 302, address
        assert answer.headers["location"] == f"/login?next={quote(address, safe='')}"


def test_r24_what_an_ordinary_user_may_not_see_sends_them_home(user_page):
    for address in ADMINS:
        user_page.goto(address)
        assert user_page.evaluate("location.pathname") == "/app", address
        assert user_page.get_by_text("for administrators").is_visible()


def test_r24_an_unknown_page_is_a_404_page(user_page):
    user_page.expected.append("status of 404")

    answer = user_page.goto("/app/nowhere")

    assert answer.status == 404
    assert user_page.get_by_role("heading", level=1).is_visible()
    assert_accessible(user_page)


def test_what_is_too_pale_in_the_dark_theme_alone_is_found(user_page):
    user_page.goto("/app")
    pale = "[data-theme=dark] h1 { color: #333 !important; background: #2b2b2b !important; }"
    user_page.evaluate("rule => document.styleSheets[0].insertRule(rule, 0)", pale)

    with pytest.raises(AssertionError, match=r"^dark .*color-contrast"):
        assert_accessible(user_page)
