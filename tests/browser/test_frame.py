"""The frame of every page: sidebar, theme, language, menus, dialogs, copy, keys, drafts, session end."""

import re

from playwright.sync_api import expect

from tests.browser.conftest import sign_in

PAGES = ["/app", "/app/components", "/app/system", "/app/account", "/app/providers"]


def test_the_sidebar_leads_to_what_one_may_open(admin_page, user_page):
    admin_page.goto("/app")
    nav = admin_page.get_by_role("navigation", name="Main")
    nav.get_by_role("link", name="System").click()
    admin_page.get_by_role("heading", name="System", level=1).wait_for()
    assert nav.get_by_role("link", name="System").get_attribute("aria-current") == "page"
    user_page.goto("/app")
    assert user_page.get_by_role("link", name="System").count() == 0


def test_every_page_of_the_sidebar_is_the_current_one_there(admin_page, user_page):
    """All that the frame leads to, for both roles; test_every_page.py looks at each."""
    for page in (admin_page, user_page):
        page.goto("/app")
        links = page.get_by_role("navigation", name="Main").locator(".nav a").all()
        for path in [link.get_attribute("href") for link in links]:
            if not path.startswith("/admin"):
                page.goto(path)
                assert page.locator(".nav a[aria-current=page]").get_attribute("href") == path


def test_the_theme_is_kept_by_the_server(user_page):
    user_page.goto("/app")
    user_page.get_by_role("button", name="Switch theme").click()
    theme = user_page.locator("html").get_attribute("data-theme")
    user_page.wait_for_load_state("networkidle")
    user_page.reload()
    assert user_page.locator("html").get_attribute("data-theme") == theme == "dark"


def test_the_theme_button_works_without_script(ui_server, open_page):
    page = open_page(ui_server, email="admin@example.org", java_script_enabled=False)
    page.goto("/app/components")
    page.get_by_role("button", name="Switch theme").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.url.endswith("/app/components")
    page.get_by_role("button", name="Switch theme").click()
    assert page.locator("html").get_attribute("data-theme") == "light"


def test_pages_speak_german_to_who_wants_it(ui_server, open_page):
    page = open_page(ui_server, locale="de-DE")
    page.goto("/login")
    assert page.locator("html").get_attribute("lang") == "de"


def test_on_a_phone_the_sidebar_is_a_drawer_that_needs_no_script(ui_server, open_page):
    small = {"width": 390, "height": 844}
    page = open_page(ui_server, email="bob@example.org", viewport=small, java_script_enabled=False)
    page.goto("/app")
    assert not page.get_by_role("navigation", name="Main").is_visible()
    page.get_by_role("button", name="Open menu").click()
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Home").wait_for()


def test_no_page_scrolls_sideways_at_320_px_in_either_direction(ui_server, open_page):
    page = open_page(ui_server, email="admin@example.org", viewport={"width": 320, "height": 800})
    for path in PAGES:
        page.goto(path)
        for direction in ("ltr", "rtl"):
            page.evaluate("dir => { document.documentElement.dir = dir; }", direction)
            wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, (path, direction)


def test_menus_take_arrow_keys_and_give_focus_back(admin_page):
    admin_page.goto("/app/components")
    opener = admin_page.get_by_role("button", name="More actions")
    opener.focus()
    admin_page.keyboard.press("Enter")
    focused = expect(admin_page.locator(":focus"))
    focused.to_have_text("Rename")
    admin_page.keyboard.press("ArrowDown")
    focused.to_have_text("Export")
    admin_page.keyboard.press("End")
    focused.to_have_text("Delete")
    admin_page.keyboard.press("Escape")
    focused.to_have_accessible_name("More actions")


def test_a_dialog_asks_before_it_loses_what_was_typed(admin_page):
    admin_page.goto("/app/components")
    opener = admin_page.get_by_role("button", name="Open dialog")
    opener.click()
    dialog = admin_page.get_by_role("dialog", name="Rename")
    dialog.get_by_label("Name").fill("laptop")
    admin_page.keyboard.press("Escape")
    question = admin_page.get_by_role("dialog", name="Discard what you typed?")
    question.get_by_role("button", name="Cancel").click()
    assert dialog.get_by_label("Name").input_value() == "laptop"
    admin_page.keyboard.press("Escape")
    question.get_by_role("button", name="Discard").click()
    dialog.wait_for(state="hidden")
    assert admin_page.locator(":focus").inner_text() == "Open dialog"


def test_copy_says_so(admin_page):
    admin_page.goto("/app/components")
    admin_page.get_by_role("figure").get_by_role("button", name="Copy").click()
    admin_page.get_by_text("Copied").wait_for()
    assert "v1/chat/completions" in admin_page.evaluate("navigator.clipboard.readText()")


def test_slash_goes_to_the_search_unless_one_types(admin_page):
    admin_page.goto("/app/components")
    admin_page.keyboard.press("/")
    assert admin_page.locator(":focus").get_attribute("type") == "search"
    name = admin_page.get_by_label("Name").first
    name.fill("")
    name.press("/")
    assert name.input_value() == "/"


def test_what_was_typed_survives_a_lost_session_and_the_request_is_repeated(ui_server, open_page):
    """Section "Quality": session expired in mid-work."""
    page = open_page(ui_server, email="bob@example.org")
    page.expected.append("status of 401")
    page.goto("/app")
    page.context.clear_cookies()
    page.evaluate(
        """() => { window.asked = import("/static/js/requests.js")
          .then(({ ask }) => ask("/api/auth/me")).then((answer) => answer.status); }"""
    )
    dialog = page.get_by_role("dialog", name="Sign in again")
    dialog.get_by_label("Password").fill("wrong")
    dialog.get_by_role("button", name="Sign in").click()
    dialog.get_by_text("Wrong email or password.").wait_for()
    assert dialog.get_by_label("Email").input_value() == "bob@example.org"
    dialog.get_by_label("Password").fill("correct horse lamp")
    dialog.get_by_role("button", name="Sign in").click()
    assert page.evaluate("window.asked") == 200
    dialog.wait_for(state="hidden")
    # forms of the page have the new token
    page.get_by_role("button", name="Switch theme").click()
    page.wait_for_load_state("networkidle")


def test_what_was_typed_survives_a_sign_in_in_between(ui_server, open_page):
    """Forms are kept per user and page, until they were taken."""
    page = open_page(ui_server, email="bob@example.org")
    page.goto("/app")
    page.get_by_label("Message", exact=True).fill("a long thought")
    page.context.clear_cookies()
    page.get_by_role("button", name="Send").click()
    page.wait_for_url("**/login?next=**")
    page.get_by_label("Email").fill("bob@example.org")
    page.get_by_label("Password").fill("correct horse lamp")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/app/chat")
    page.goto("/app")
    assert page.get_by_label("Message", exact=True).input_value() == "a long thought"
    page.get_by_role("button", name="Send").click()
    page.wait_for_url("**/app/chat/*")
    page.goto("/app")
    assert page.get_by_label("Message", exact=True).input_value() == ""


def test_what_takes_long_says_so_and_can_be_given_up(ui_server, admin_page):
    page = admin_page
    page.goto("/app/components")
    page.clock.install()
    page.context.route("**/app/operations", lambda route: None)
    page.evaluate(
        """() => { window.htmx.ajax("GET", "/app/operations", { target: "#ops", source: document.body }); }"""
    )
    page.clock.fast_forward(9000)
    toast = page.get_by_role("status", name="Messages")
    toast.get_by_text("Still working").wait_for()
    toast.get_by_role("button", name="Cancel").click()
    page.clock.fast_forward(1000)
    toast.get_by_text("Still working").wait_for(state="detached")


def test_hostile_names_are_only_text(ui_server, open_page):
    page = open_page(ui_server)
    sign_in(page, "bob@example.org")
    name = "<img src=x onerror=alert(1)>\u202e\u2066"
    page.context.request.put("/api/auth/profile", data={"name": name, "avatar_url": ""})
    page.goto("/app")
    assert page.locator(".sidebar img").count() == 0
    assert re.search("<img", page.locator(".sidebar .me").inner_text())
    page.context.request.put("/api/auth/profile", data={"name": "Bob", "avatar_url": ""})
