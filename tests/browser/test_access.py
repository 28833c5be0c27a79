"""Coming in, in a real browser: by an invite and GitHub, and by waiting for an approver."""

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.faults.conftest import ask
from tests.identity.github import CLIENT, SECRET, GitHub
from tests.servers import PASSWORD, Server
from tests.stub import StubEngine

pytestmark = pytest.mark.real
GOOD = "a long enough pass phrase"


@pytest.fixture
def server(tmp_path) -> Iterator[Server]:
    engine, github = StubEngine(), GitHub()
    made = Server(
        tmp_path,
        web_only=True,
        LOCALAI_ENGINES=f"m={engine.url}",
        GITHUB_CLIENT_ID=CLIENT,
        GITHUB_CLIENT_SECRET=SECRET,
        LOCALAI_GITHUB_URL=github.url,
    )
    github.add("grace", number=77, email="grace@example.org")
    yield made
    made.stop()
    engine.stop()
    github.stop()


def make_key(page) -> str:
    """A key, made on the home page as a newcomer would."""
    page.wait_for_url("**/app")
    page.locator("summary").get_by_text("Create key").click()
    page.get_by_label("Name").fill("notebook")
    page.get_by_role("button", name="Create key").click()
    return str(page.get_by_label("New API key").input_value())


def first_call(server, key) -> int:
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx.post(
        f"{server.url}/v1/chat/completions", json=ask(), headers=headers, timeout=20
    )
    return answer.status_code


def test_an_invite_link_then_github_then_the_first_api_call(server, open_page):
    with server.client() as admin:
        code = admin.post("/api/auth/admin/invites").json()["code"]
    page = open_page(server)

    page.goto(f"/invite/{code}")
    page.get_by_role("link", name="Sign in with GitHub").click()
    page.locator("input[name=login]").fill("grace")
    page.get_by_role("button", name="Authorize").click()
    key = make_key(page)

    assert first_call(server, key) == 200
    page.goto("/app/account/security")
    assert page.get_by_text("grace@example.org").first.is_visible()
    assert page.get_by_role("button", name="Unlink GitHub").is_visible()
    assert page.problems == []


def test_registration_then_approval_in_djangos_admin_then_the_first_api_call(server, open_page):
    page, approver = open_page(server), open_page(server)
    page.goto("/register")
    page.get_by_label("Email").fill("lin@example.org")
    page.get_by_label("Password", exact=True).fill(GOOD)
    page.get_by_label("Confirm password").fill(GOOD)
    page.get_by_role("button", name="Register").click()
    page.wait_for_url("**/waiting")

    approver.goto("/admin/accounts/user/")
    approver.get_by_label("Email").fill("admin@example.org")
    approver.get_by_label("Password").fill(PASSWORD)
    approver.get_by_role("button", name="Sign in", exact=True).click()
    approver.wait_for_url("**/admin/**")
    approver.goto("/admin/accounts/user/")
    first = approver.locator("#result_list tbody tr").first
    assert "lin@example.org" in first.inner_text()
    first.locator("input.action-select").check()
    approver.locator("select[name=action]").select_option("approve")
    approver.get_by_role("button", name=re.compile("Go|Run")).click()
    approver.get_by_text("1 changed.").wait_for()

    page.goto("/login")
    page.get_by_label("Email").fill("lin@example.org")
    page.get_by_label("Password").fill(GOOD)
    page.get_by_role("button", name="Sign in", exact=True).click()

    assert first_call(server, make_key(page)) == 200
    assert page.problems == []
