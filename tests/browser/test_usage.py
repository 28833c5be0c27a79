"""Usage in a real browser: numbers after real requests, the chart by pointer and keyboard, without script."""

import csv
import io

import httpx
import pytest

from tests.browser.conftest import ADMIN, USER
from tests.browser.pages import assert_accessible, shoot, weight
from tests.servers import PASSWORD

PAGES = ("/app/usage", "/app/usage?period=day", "/app/usage?period=all")


def ask(server, key, n=3):
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    headers = {"Authorization": f"Bearer {key}"}
    for _ in range(n):
        path = f"{server.url}/v1/chat/completions"
        assert httpx.post(path, json=body, headers=headers, timeout=20).status_code == 200


@pytest.fixture(scope="module")
def used(ui_server):
    """Three requests by the admin's key and two by one of bob's; the admin's key."""
    ask(ui_server, ui_server.key)
    with httpx.Client(base_url=ui_server.url) as bob:
        bob.post("/api/auth/login", json={"email": USER, "password": PASSWORD})
        ask(
            ui_server, bob.post("/api/auth/api-keys", json={"name": "bob-reports"}).json()["key"], 2
        )
    return ui_server


def cards(page):
    found = page.locator("#usage-cards data")
    return [int(found.nth(i).get_attribute("value")) for i in range(found.count())]


def readout(page):
    return page.locator("[data-readout]").first.inner_text()


def test_e14_the_page_after_real_requests_has_the_numbers_of_the_api(used, user_page):
    user_page.goto("/app/usage")
    totals = user_page.context.request.get("/api/auth/usage").json()["totals"]
    names = ("request_count", "prompt_tokens", "completion_tokens", "total_tokens", "cost")

    assert cards(user_page) == [totals[name] for name in names]
    assert totals["request_count"] >= 2
    user_page.get_by_role("row", name="bob-reports").wait_for()
    with user_page.expect_download() as download:
        user_page.get_by_role("link", name="CSV").click()
    text = download.value.path().read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert sum(int(row["total_tokens"]) for row in rows) == totals["total_tokens"]


def test_a_period_is_chosen_without_leaving_the_page(used, user_page):
    user_page.goto("/app/usage")
    user_page.evaluate("window.stays = true")
    user_page.get_by_role("link", name="Day", exact=True).click()
    user_page.wait_for_url("**/app/usage?period=day")
    day = user_page.get_by_role("link", name="Day", exact=True)
    assert day.get_attribute("aria-current") == "true"
    assert user_page.evaluate("window.stays") is True
    assert user_page.locator("[data-plot] canvas").count() == 1
    user_page.wait_for_function("() => document.activeElement.tagName === 'H1'")
    user_page.go_back()
    user_page.wait_for_url("**/app/usage")
    month = user_page.get_by_role("link", name="Month", exact=True)
    user_page.wait_for_function(
        "() => document.querySelector('#periods [aria-current]').textContent === 'Month'"
    )
    assert month.get_attribute("aria-current") == "true"


def test_the_chart_is_read_by_keyboard_and_pointer(used, user_page):
    user_page.goto("/app/usage?period=week")
    chart = user_page.get_by_role("slider", name="Tokens over time")
    chart.focus()
    last = readout(user_page)
    user_page.keyboard.press("ArrowLeft")
    assert readout(user_page) != last
    assert "0 tokens" in readout(user_page)
    user_page.keyboard.press("Home")
    first = readout(user_page)
    assert chart.get_attribute("aria-valuenow") == "1"
    assert chart.get_attribute("aria-valuetext").startswith(first.split(" · ")[0])
    user_page.keyboard.press("End")
    assert readout(user_page) == last
    box = chart.bounding_box()
    user_page.mouse.move(box["x"] + 5, box["y"] + box["height"] / 2)
    user_page.mouse.move(box["x"] + 8, box["y"] + box["height"] / 2)
    user_page.wait_for_function(
        "first => document.querySelector('[data-readout]').innerText === first", arg=first
    )


def test_the_table_stands_behind_the_chart(used, user_page):
    user_page.goto("/app/usage?period=week")
    user_page.get_by_text("Show as table").click()
    rows = user_page.locator("[data-columns] tbody tr")
    assert rows.count() == 8
    assert "0" in rows.nth(7).inner_text()


def test_everything_is_there_without_script(used, open_page):
    page = open_page(used, email=ADMIN, java_script_enabled=False)
    page.goto("/app/usage")
    assert page.locator("svg.plot rect.s1").count() >= 1
    assert "tokens" in readout(page)
    page.get_by_role("link", name="Details of Bob").click()
    page.get_by_role("link", name="Details of Bob", exact=False).wait_for()
    assert "bob-reports" in page.locator("tr.detail").inner_text()
    page.get_by_role("searchbox", name="Search users").fill("nobody at all")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Nobody found").wait_for()
    page.get_by_role("link", name="Week").click()
    page.wait_for_url("**period=week*")


def test_an_admin_searches_opens_one_person_and_checks_the_books(used, admin_page):
    admin_page.goto("/app/usage")
    search = admin_page.get_by_role("searchbox", name="Search users")
    search.press_sequentially("bob@exam")
    admin_page.wait_for_url("**q=bob*")
    assert search.input_value() == "bob@exam"
    assert admin_page.locator("#people tbody").count() == 1
    admin_page.get_by_role("link", name="Details of Bob").click()
    admin_page.locator("tr.detail").wait_for()
    opened = admin_page.get_by_role("link", name="Details of Bob")
    assert opened.get_attribute("aria-expanded") == "true"
    admin_page.wait_for_function("() => document.activeElement.id.startsWith('open-')")
    week = admin_page.get_by_role("link", name="Week", exact=True).get_attribute("href")
    assert "q=bob" in week
    assert "user=" in week
    assert_accessible(admin_page)
    opened.press("Enter")
    admin_page.locator("tr.detail").wait_for(state="detached")
    admin_page.get_by_role("button", name="Check now").click()
    admin_page.wait_for_url("**#accounting")
    admin_page.locator("#accounting").get_by_text("The books balance").wait_for()


def test_a_slow_answer_shows_what_comes_and_a_failed_one_keeps_what_was_seen(used, user_page):
    user_page.expected.append("status of 503")
    user_page.goto("/app/usage")
    before = cards(user_page)

    def slow(route):
        user_page.wait_for_timeout(900)
        route.fulfill(status=503, body="away")

    user_page.route("**/app/usage?period=week*", slow)
    user_page.get_by_role("link", name="Week").click()
    user_page.locator("#usage .skel").first.wait_for()
    user_page.locator("#usage .skel").first.wait_for(state="detached", timeout=20000)
    assert cards(user_page) == before
    assert user_page.get_by_text("The server could not answer.").count() >= 1


@pytest.mark.parametrize("path", PAGES)
def test_usage_is_accessible_and_light(used, admin_page, user_page, path):
    for page, who in ((admin_page, "admin"), (user_page, "user")):
        page.goto(path)
        assert_accessible(page)
        shoot(page, f"usage-{who}-{path.rpartition('=')[2].replace('/', '-')}")
        found = weight(page, path)
        assert found["script"] <= 60 * 1024
        assert found["stylesheet"] <= 30 * 1024


def test_usage_fits_a_phone(used, open_page):
    page = open_page(used, email=ADMIN, viewport={"width": 360, "height": 800})
    page.goto("/app/usage")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.set_viewport_size({"width": 320, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
