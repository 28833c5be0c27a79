"""The Logs page in the browser: live, harmless, without a line lost."""

import time
from datetime import UTC, datetime

import pytest

from inference.log_files import LogWriter, clear, log_folder
from tests.browser.pages import assert_accessible, shoot
from tests.servers import PASSWORD

pytestmark = pytest.mark.timeout(180)
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
