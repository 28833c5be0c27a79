"""C-04, R-26: Swagger UI in a real browser: it works, and nothing comes from anywhere else."""

import pytest

from tests.servers import Server

pytestmark = pytest.mark.real


@pytest.fixture
def server(tmp_path):
    one = Server(tmp_path, web_only=True)
    yield one
    one.stop()


def test_c04_swagger_ui_shows_every_group_and_tries_a_call_with_a_key(server, open_page):
    page = open_page(server)
    elsewhere = []
    page.on("request", lambda r: r.url.startswith(server.url) or elsewhere.append(r.url))

    page.goto("/swagger/index.html")
    page.get_by_role("link", name="sign-in", exact=True).wait_for()
    page.get_by_role("link", name="inference", exact=True).wait_for()

    page.get_by_role("button", name="Authorize").click()
    bearer = page.locator(".auth-container", has=page.get_by_label("auth-bearer-value"))
    bearer.get_by_label("auth-bearer-value").fill(server.key)
    bearer.get_by_label("Apply credentials").click()
    page.get_by_role("button", name="Close").first.click()
    page.get_by_role("link", name="server", exact=True).click()
    page.locator("#operations-server-get_version .opblock-summary-control").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    page.locator(".live-responses-table .response-col_status", has_text="200").wait_for()

    assert "(gatehouse)" in page.locator(".live-responses-table").inner_text()
    assert [url for url in elsewhere if not url.startswith(("data:", "blob:"))] == []
    assert page.problems == []
