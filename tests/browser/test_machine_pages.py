"""System, Traces, Logs and Settings in the browser: live, by keyboard and label, in both themes."""

import time
from datetime import UTC, datetime

import httpx
import pytest

from inference.log_files import LogWriter, clear, log_folder
from tests.browser.pages import assert_accessible, shoot, weight
from tests.faults.conftest import ask
from tests.servers import PASSWORD

pytestmark = pytest.mark.timeout(180)
PAGES = ["/app/system", "/app/traces", "/app/traces/engines", "/app/logs", "/app/settings"]
HOSTILE = "\x1b[31m<img src=x onerror=alert(1)>\x1b[0m \x1b]0;title\x07done"


class Log:
    """The log of a model, written as its engine process would."""

    def __init__(self, server, model):
        self.model = model
        self.folder = log_folder(server.folder / "data", model)
        self._writer = LogWriter(self.folder, model)
        self.n = 0

    def say(self, *texts):
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        self._writer.write([(now, "stdout", each) for each in texts])

    def count(self, n):
        """`n` more lines: line 1, line 2, …"""
        self.say(*(f"INFO line {i}" for i in range(self.n + 1, self.n + n + 1)))
        self.n += n


@pytest.fixture
def log(ui_server, request):
    return Log(ui_server, f"org/{request.node.name[:60]}")


def texts(page):
    return page.locator("#log li > span").all_inner_texts()


def is_live(page):
    page.locator("#log-state").get_by_text("Live", exact=True).wait_for()


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


# --- logs ---------------------------------------------------------------------------------------


def test_r13_r23_lines_come_live_harmless_and_once(admin_page, log):
    log.count(5)
    log.say(HOSTILE)
    admin_page.goto(f"/app/logs/{log.model}")
    is_live(admin_page)

    log.say("ERROR out of memory", HOSTILE)

    admin_page.get_by_text("ERROR out of memory").wait_for()
    found = texts(admin_page)
    assert len(found) == 8
    assert found[-1] == found[5] == "<img src=x onerror=alert(1)> done"
    assert admin_page.locator("#log img").count() == 0
    assert admin_page.locator("#log li.e").count() == 1
    assert_accessible(admin_page)
    shoot(admin_page, "machine-log")


def test_r23_a_cut_connection_loses_and_doubles_no_line(admin_page, log):
    admin_page.expected += ["WebSocket", "ERR_INTERNET_DISCONNECTED", "Failed to load resource"]
    admin_page.add_init_script(
        """window.sockets = []; const Real = WebSocket;
        window.WebSocket = class extends Real {
          constructor(...given) { super(...given); window.sockets.push(this); } };"""
    )
    log.count(10)
    admin_page.goto(f"/app/logs/{log.model}")
    is_live(admin_page)
    log.count(10)
    admin_page.get_by_text("INFO line 20", exact=True).wait_for()

    for i in range(3):
        admin_page.context.set_offline(True)
        admin_page.evaluate("window.sockets.at(-1).close()")
        admin_page.locator("#log-state").get_by_text("Reconnecting").wait_for()
        log.count(1200)
        admin_page.context.set_offline(False)
        log.count(10)
        admin_page.get_by_text(f"INFO line {20 + 1210 * (i + 1)}", exact=True).wait_for()

    assert texts(admin_page) == [f"INFO line {i}" for i in range(log.n - 1999, log.n + 1)]
    assert admin_page.evaluate("window.sockets.length") >= 4


def main_thread_s(devtools):
    """Seconds that the page's main thread has computed, whatever else this machine does."""
    found = devtools.send("Performance.getMetrics")["metrics"]
    return next(each["value"] for each in found if each["name"] == "TaskDuration")


def test_1000_lines_a_second_do_not_freeze_the_page(admin_page, log):
    log.count(100)
    admin_page.goto(f"/app/logs/{log.model}")
    is_live(admin_page)
    devtools = admin_page.context.new_cdp_session(admin_page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
    before, began = main_thread_s(devtools), time.monotonic()
    for i in range(40):  # 4 s of 1,000 lines
        log.count(100)
        time.sleep(max(0, began + (i + 1) * 0.1 - time.monotonic()))

    admin_page.get_by_text(f"INFO line {log.n}", exact=True).wait_for()
    busy = main_thread_s(devtools) - before
    print(f"main thread: {busy:.2f} s")
    assert busy < 2
    found = texts(admin_page)
    assert len(found) == 2000  # bounded
    assert found == [f"INFO line {i}" for i in range(log.n - 1999, log.n + 1)]
    at_end = "log => Math.abs(log.scrollHeight - log.scrollTop - log.clientHeight)"
    assert admin_page.locator("#log").evaluate(at_end) < 2


def test_the_reader_who_scrolled_up_stays_and_jumps_to_the_end(admin_page, log):
    log.count(300)
    admin_page.goto(f"/app/logs/{log.model}")
    is_live(admin_page)
    box = admin_page.locator("#log")
    box.evaluate("log => { log.scrollTop = 100; }")
    log.count(50)
    admin_page.get_by_text("INFO line 350", exact=True).wait_for(state="attached")
    assert box.evaluate("log => log.scrollTop") == 100
    admin_page.get_by_role("button", name="Jump to the end").click()
    assert admin_page.get_by_text("INFO line 350", exact=True).is_visible()
    assert box.evaluate("log => log.scrollHeight - log.scrollTop - log.clientHeight") < 2


def test_a_paused_log_goes_on_where_it_stopped(admin_page, log):
    log.count(3)
    admin_page.goto(f"/app/logs/{log.model}")
    is_live(admin_page)
    admin_page.get_by_role("button", name="Pause").click()
    admin_page.locator("#log-state").get_by_text("Paused").wait_for()
    log.count(3)
    admin_page.wait_for_timeout(600)
    assert len(texts(admin_page)) == 3
    admin_page.get_by_role("button", name="Resume").click()
    admin_page.get_by_text("INFO line 6", exact=True).wait_for()
    assert texts(admin_page) == [f"INFO line {i}" for i in range(1, 7)]


def test_a_lost_session_is_asked_for_and_no_line_is_lost(admin_page, log):
    """Section "Quality": session expired in mid-work; R-13: who loses the right is cut off."""
    admin_page.expected += ["WebSocket", "status of 401"]
    log.count(3)
    admin_page.goto(f"/app/logs/{log.model}")
    is_live(admin_page)
    admin_page.context.request.post("/api/auth/logout")
    dialog = admin_page.get_by_role("dialog", name="Sign in again")
    dialog.get_by_label("Password").wait_for()
    log.count(3)
    dialog.get_by_label("Password").fill(PASSWORD)
    dialog.get_by_role("button", name="Sign in").click()
    admin_page.get_by_text("INFO line 6", exact=True).wait_for()
    assert texts(admin_page) == [f"INFO line {i}" for i in range(1, 7)]


def test_a_search_and_a_level_leave_out_lines_that_come_later_too(admin_page, log):
    log.say("INFO one", "WARNING two", "ERROR three")
    admin_page.goto(f"/app/logs/{log.model}?level=w")  # as a form without script asks
    is_live(admin_page)
    assert admin_page.get_by_text("WARNING two").is_visible()
    assert not admin_page.get_by_text("INFO one").is_visible()
    log.say("INFO four", "ERROR five")
    admin_page.get_by_text("ERROR five").wait_for()
    assert not admin_page.get_by_text("INFO four").is_visible()
    admin_page.get_by_label("Level", exact=True).select_option("")
    assert admin_page.get_by_text("INFO one").is_visible()
    admin_page.get_by_role("searchbox", name="Search in the log").fill("FIVE")
    assert admin_page.locator("#log li:visible").all_inner_texts()[0].endswith("ERROR five")


def test_a_log_that_is_cleared_goes_on(admin_page, log):
    log.count(3)
    admin_page.goto(f"/app/logs/{log.model}")
    is_live(admin_page)
    admin_page.get_by_role("button", name="Clear").click()
    question = admin_page.get_by_role("dialog", name=f"Clear the log of {log.model}?")
    question.get_by_role("button", name="Clear").click()
    admin_page.get_by_text("The log is cleared.").wait_for()
    is_live(admin_page)
    log.count(1)
    admin_page.get_by_text("INFO line 4", exact=True).wait_for()
    assert texts(admin_page) == ["INFO line 4"]


def test_a_log_that_began_anew_is_shown_anew(admin_page, log):
    log.count(50)
    admin_page.goto(f"/app/logs/{log.model}")
    is_live(admin_page)
    admin_page.get_by_role("button", name="Pause").click()
    clear(log.folder)
    for each in log.folder.iterdir():
        each.unlink()
    again = Log.__new__(Log)
    again.model, again.folder, again.n = log.model, log.folder, 0
    again._writer = LogWriter(log.folder, log.model)
    again.say("INFO first of another")
    admin_page.get_by_role("button", name="Resume").click()
    admin_page.get_by_text("INFO first of another").wait_for()
    assert texts(admin_page) == ["INFO first of another"]


def test_logs_work_without_a_script(ui_server, open_page, log):
    log.say("INFO one", "ERROR two")
    page = open_page(ui_server, email="admin@example.org", java_script_enabled=False)
    page.goto("/app/logs")
    page.get_by_role("link", name=log.model).click()
    page.get_by_label("Level", exact=True).select_option("e")
    page.get_by_role("button", name="Search").click()
    assert texts(page) == ["ERROR two"]


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
    admin_page.get_by_text("The books balance").wait_for()
    assert_accessible(admin_page)
    shoot(admin_page, "machine-system-checked")
