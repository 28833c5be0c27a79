"""The README's tour in a real browser: admin account, key, sign-out, sign-in; with no CSP report and no error."""

import os
import re
from collections.abc import Iterator

import httpx
import pytest

from tests.faults.conftest import ask
from tests.servers import Server
from tests.stub import StubEngine

pytestmark = pytest.mark.real
GOOD = "a long enough pass phrase"


@pytest.fixture
def server(tmp_path) -> Iterator[Server]:
    engine = StubEngine()
    made = Server.__new__(Server)
    made.make_admin = lambda: ""  # the browser makes the admin's account here
    made.__init__(tmp_path, web_only=True, LOCALAI_ENGINES=f"m={engine.url}")
    yield made
    made.stop()
    engine.stop()


@pytest.fixture
def page(server, open_page):
    return open_page(server)


def test_the_tour(server, page, tmp_path):
    page.goto("/")
    assert page.url.endswith("/register")
    page.get_by_label("Email").fill("mara@example.org")
    page.get_by_label("Password", exact=True).fill(GOOD)
    page.get_by_label("Confirm password").fill(GOOD)
    page.get_by_role("button", name="Create admin account").click()
    page.wait_for_url("**/app")

    page.locator("summary").get_by_text("Create key").click()
    page.get_by_label("Name").fill("notebook")
    page.get_by_role("button", name="Create key").click()
    key = page.get_by_label("New API key").input_value()
    page.get_by_role("button", name="Copy key").click()
    page.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == key
    assert re.fullmatch(r"lai-[0-9a-f]{64}", key)
    assert key in page.locator("#code-curl").inner_text()

    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=ask(), headers=headers)
    assert answer.status_code == 200

    page.goto("/app")
    assert page.get_by_label("New API key").count() == 0
    assert page.get_by_text("notebook").count() == 1
    if where := os.environ.get("GATEHOUSE_PICTURES"):
        page.screenshot(path=f"{where}/home.png", full_page=True)
    page.get_by_role("link", name="Users").click()
    page.get_by_role("main").get_by_role("link", name="mara@example.org").wait_for()

    page.goto("/app")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login")
    page.get_by_label("Email").fill("mara@example.org")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("Wrong email or password.").wait_for()
    if where:
        page.screenshot(path=f"{where}/login.png")
    page.get_by_label("Password").fill(GOOD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/app")
    assert [p for p in page.problems if "422" not in p] == []
