"""System, Traces and Settings in the browser: live, by keyboard and label, in both themes."""

import time

import httpx
import pytest

from tests.browser.pages import assert_accessible, shoot, weight
from tests.faults.conftest import ask

pytestmark = pytest.mark.timeout(180)
PAGES = ["/app/system", "/app/traces", "/app/traces/engines", "/app/logs", "/app/settings"]


@pytest.fixture
def traced(ui_server):
    """A real request of the admin's, by its correlation id."""
    cid = f"cid-{time.time_ns()}"
    headers = {"Authorization": f"Bearer {ui_server.key}", "X-Correlation-ID": cid}
    answer = httpx.post(f"{ui_server.url}/v1/chat/completions", json=ask(), headers=headers)
    assert answer.status_code == 200, answer.text
    return cid


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_accessible_and_light(admin_page, path, traced):
    found = weight(admin_page, path)
    assert found["script"] <= 60 * 1024
    assert found["stylesheet"] <= 30 * 1024
    assert_accessible(admin_page)
    shoot(admin_page, "machine" + path.replace("/", "-"))


@pytest.mark.parametrize("path", PAGES)
def test_no_page_scrolls_sideways_at_320_px(ui_server, open_page, path, traced):
    page = open_page(ui_server, email="admin@example.org", viewport={"width": 320, "height": 800})
    page.goto(path)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


# --- traces -------------------------------------------------------------------------------------


def test_r12_r30_a_trace_of_a_real_request_is_found_by_its_correlation_id(admin_page, traced):
    admin_page.goto("/app/traces")
    admin_page.get_by_role("searchbox", name="Correlation id").fill(traced)
    admin_page.keyboard.press("Enter")
    admin_page.wait_for_url(f"**correlation_id={traced}**")
    row = admin_page.get_by_role("row", name="/v1/chat/completions")
    assert row.count() == 1
    row.get_by_role("link").click()
    one = admin_page.get_by_role("complementary")
    one.get_by_text(traced).wait_for()
    assert one.get_by_text("Where the time went").is_visible()
    assert_accessible(admin_page)
    shoot(admin_page, "machine-trace")
    one.get_by_role("link", name="Engine calls").click()
    admin_page.get_by_role("row", name="m").get_by_role("link").click()
    admin_page.get_by_role("complementary").get_by_text(traced).wait_for()
    assert_accessible(admin_page)


def test_r11_bodies_are_shown_while_the_setting_is_on(admin_page, ui_server):
    with ui_server.client() as admin:
        admin.post("/api/settings", json={"tracing_bodies": True})
        time.sleep(0.5)  # in force in every worker
        headers = {"X-Correlation-ID": "with-bodies"}
        body = ask(messages=[{"role": "user", "content": "<b>hello</b> there"}])
        assert admin.post("/v1/chat/completions", json=body, headers=headers).status_code == 200
        admin.post("/api/settings", json={"tracing_bodies": False})
    admin_page.goto("/app/traces?correlation_id=with-bodies")
    admin_page.get_by_role("row", name="/v1/chat/completions").get_by_role("link").click()
    admin_page.get_by_text("<b>hello</b> there").wait_for()
    admin_page.get_by_text("Headers").click()
    assert admin_page.get_by_text("[redacted]").first.is_visible()
    assert_accessible(admin_page)
    shoot(admin_page, "machine-trace-bodies")


def test_clearing_traces_asks_first(admin_page, ui_server, traced):
    admin_page.goto("/app/traces")
    admin_page.get_by_role("button", name="Clear").click()
    dialog = admin_page.get_by_role("dialog", name="Clear all traces of requests?")
    dialog.get_by_role("button", name="Cancel").click()
    assert admin_page.get_by_role("row", name="/v1/chat/completions").count() >= 1
    admin_page.get_by_role("button", name="Clear").click()
    dialog.get_by_role("button", name="Clear").click()
    admin_page.get_by_role("heading", name="No traces yet", level=2).wait_for()
    assert_accessible(admin_page)
    shoot(admin_page, "machine-traces-empty")


# --- settings -----------------------------------------------------------------------------------


def in_force(server, *names):
    with server.client() as admin:
        shown = admin.get("/api/settings").json()
    return [shown[name] for name in names]


def test_r21_a_setting_that_is_changed_is_in_force(admin_page, ui_server):
    admin_page.goto("/app/settings")
    bar = admin_page.locator("#savebar")
    save = bar.get_by_role("button", name="Save changes")
    assert save.is_disabled()
    admin_page.get_by_role("switch", name="Unload idle models", exact=True).check()
    admin_page.get_by_label("Idle for").fill("15 minutes")
    bar.get_by_text("2 changes, not saved.").wait_for()
    save.click()
    field = admin_page.get_by_label("Idle for")
    admin_page.get_by_text("Write a duration such as “15m” or “1h30m”.").wait_for()
    assert field.input_value() == "15 minutes"
    assert field.evaluate("field => field === document.activeElement")
    assert in_force(ui_server, "watchdog_idle_enabled") == [False]
    bar.get_by_text("2 changes, not saved.").wait_for()
    assert_accessible(admin_page)
    shoot(admin_page, "machine-settings-wrong")

    field.fill("1h30m")
    save.click()
    admin_page.get_by_text("2 changes saved.").wait_for()
    assert in_force(ui_server, "watchdog_idle_enabled", "watchdog_idle_timeout") == [True, "1h30m"]
    with ui_server.client() as admin:
        admin.post(
            "/api/settings",
            json={
                "watchdog_idle_enabled": False,
                "watchdog_idle_timeout": "15m",
                "watchdog_enabled": False,
            },
        )


def test_discarding_forgets_what_was_typed(admin_page):
    admin_page.goto("/app/settings")
    admin_page.get_by_label("Context length").fill("4096")
    admin_page.locator("#savebar").get_by_text("1 change, not saved.").wait_for()
    admin_page.get_by_role("link", name="Discard").click()
    admin_page.locator("#savebar").get_by_text("No changes.").wait_for()
    assert admin_page.get_by_label("Context length").input_value() == "0"


def test_settings_work_without_a_script(ui_server, open_page):
    page = open_page(ui_server, email="admin@example.org", java_script_enabled=False)
    page.goto("/app/settings")
    page.get_by_label("Context length").fill("2048")
    page.get_by_role("button", name="Save changes").click()
    page.get_by_text("1 change saved.").wait_for()
    assert in_force(ui_server, "context_size") == [2048]
    page.get_by_label("Context length").fill("0")
    page.get_by_role("button", name="Save changes").click()
    assert in_force(ui_server, "context_size") == [0]


def test_legacy_keys_are_added_and_revoked(admin_page, ui_server):
    key = "sk-browser-" + "k" * 20
    admin_page.goto("/app/settings")
    admin_page.get_by_label("New legacy key").fill(key)
    admin_page.get_by_role("button", name="Add key").click()
    admin_page.get_by_text("The key is in force.").wait_for()
    assert key not in admin_page.content()
    headers = {"Authorization": f"Bearer {key}"}
    assert httpx.get(f"{ui_server.url}/api/operations", headers=headers).status_code == 200
    admin_page.get_by_role("button", name="Revoke key").click()
    dialog = admin_page.get_by_role("dialog", name="Revoke this key?")
    dialog.get_by_role("button", name="Revoke").click()
    admin_page.get_by_text("The key is revoked.").wait_for()
    assert httpx.get(f"{ui_server.url}/api/operations", headers=headers).status_code == 401


# --- system -------------------------------------------------------------------------------------


def test_r29_the_system_page_is_live_and_can_be_paused(admin_page):
    polls = []
    admin_page.on("request", lambda r: r.url.endswith("/app/system/live") and polls.append(r))
    admin_page.goto("/app/system")
    admin_page.get_by_text("Live, every 2 s").wait_for()
    assert admin_page.get_by_role("row", name="m at").get_by_text("Ready").is_visible()
    admin_page.wait_for_timeout(5000)
    assert len(polls) in {2, 3}
    admin_page.get_by_role("button", name="Pause").click()
    admin_page.get_by_text("Paused").wait_for()
    n = len(polls)
    admin_page.wait_for_timeout(3000)
    assert len(polls) == n
    admin_page.get_by_role("button", name="Resume").click()
    admin_page.wait_for_timeout(3000)
    assert len(polls) > n


def test_the_books_are_compared_on_the_system_page(admin_page):
    admin_page.goto("/app/system")
    admin_page.get_by_role("button", name="Check now").click()
    admin_page.locator("#accounting").get_by_text("The books balance").wait_for()
    assert_accessible(admin_page)
    shoot(admin_page, "machine-system-checked")
