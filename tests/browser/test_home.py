"""Home and API in the browser: a first key, a first request, a first question, and what is under way."""

import sqlite3
import uuid

import httpx
import pytest

from tests.browser.pages import assert_accessible, shoot, weight

PAGES = ["/app", "/app/api"]


def run_operation(server, **fields):
    """Put one into the server's own table, as its engine process would."""
    row = {
        "id": uuid.uuid4().hex,
        "kind": "model",
        "action": "install",
        "target": "qwen3-8b",
        "asked_for": "Qwen3 8B",
        "asked_by": "",
        "details": "{}",
        "state": "running",
        "progress": 42,
        "phase": "",
        "message": "downloading",
        "log_tail": "",
        "cancel_asked": 0,
        "dismissed": 0,
        "created_at": "2026-11-26 00:00:00",
        **fields,
    }
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    change(server, f"INSERT INTO inference_operation ({names}) VALUES ({marks})", *row.values())
    return row["id"]


def change(server, statement, *values):
    with sqlite3.connect(server.folder / "data" / "database.db", timeout=20) as database:
        database.execute(statement, values)
    database.close()


@pytest.mark.parametrize("path", PAGES)
def test_they_are_accessible_and_light(admin_page, user_page, path):
    for name, page in (("admin", admin_page), ("user", user_page)):
        found = weight(page, path)
        assert 0 < found["script"] <= 60 * 1024
        assert 0 < found["stylesheet"] <= 30 * 1024
        page.locator("summary").get_by_text("Create key").click()
        assert_accessible(page)
        page.locator("summary").get_by_text("Create key").click()
        shoot(page, name + path.replace("/", "-"))


def test_a_first_key_and_a_first_request_in_each_language(ui_server, user_page):
    page = user_page
    page.goto("/app/api")
    page.locator("summary").get_by_text("Create key").click()
    page.get_by_label("Name").fill("notebook")
    page.get_by_role("button", name="Create key").click()
    key = page.get_by_label("New API key").input_value()
    page.get_by_role("button", name="Copy key").click()
    assert page.evaluate("navigator.clipboard.readText()") == key
    for language in ("curl", "Python", "JavaScript"):
        page.get_by_text(language, exact=True).first.click()
        sample = page.get_by_role("group", name=f"{language} code")
        assert key in sample.inner_text()
        assert ui_server.url in sample.inner_text()
        assert '"m"' in sample.inner_text()
    shoot(page, "user-app-api-key")
    body = {"model": "m", "messages": [{"role": "user", "content": "Say hello."}]}
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx.post(f"{ui_server.url}/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200
    page.get_by_label("API key", exact=True).select_option(index=0)
    page.goto("/app")
    page.get_by_role("button", name="Revoke notebook").click()
    page.get_by_role("dialog", name="Revoke notebook?").get_by_role("button", name="Revoke").click()
    page.get_by_text("The key is revoked.").wait_for()


def test_a_first_question_becomes_a_conversation(user_page):
    user_page.goto("/app")
    user_page.get_by_label("Message", exact=True).fill("What is the capital of France?")
    user_page.keyboard.press("Enter")
    user_page.wait_for_url("**/app/chat/*")
    user_page.get_by_text("What is the capital of France?").first.wait_for()
    user_page.goto("/app")
    recent = user_page.get_by_role("heading", name="Recent conversations")
    recent.wait_for()


def test_operations_are_live_on_every_page_and_said_once(ui_server, admin_page):
    """Section "Look": progress in the sidebar; announced at start, end and failure."""
    page = admin_page
    page.goto("/app/account")
    operation = run_operation(ui_server)
    try:
        page.reload()
        bar = page.get_by_role("progressbar", name="Qwen3 8B")
        assert bar.get_attribute("value") == "42"
        shoot(page, "operations")
        change(ui_server, "UPDATE inference_operation SET progress = 77 WHERE id = ?", operation)
        page.locator('#ops progress[value="77"]').wait_for()
        change(
            ui_server,
            "UPDATE inference_operation SET state = 'failed', message = 'the disk is full' WHERE id = ?",
            operation,
        )
        toast = page.get_by_role("status", name="Messages").get_by_text("the disk is full")
        toast.wait_for()
        page.get_by_role("button", name="Dismiss Not installed").click()
        page.locator("#ops .ops").wait_for(state="detached")
        page.reload()
        assert page.get_by_text("the disk is full").count() == 0
    finally:
        change(ui_server, "DELETE FROM inference_operation WHERE id = ?", operation)


def test_cancel_from_the_sidebar(ui_server, admin_page):
    operation = run_operation(ui_server, state="queued", progress=0)
    try:
        admin_page.goto("/app/system")
        admin_page.get_by_role("button", name="Cancel Installing Qwen3 8B").click()
        admin_page.get_by_text("Cancelled: Qwen3 8B").first.wait_for(state="attached")
        admin_page.locator("#ops .ops").wait_for(state="detached")
    finally:
        change(ui_server, "DELETE FROM inference_operation WHERE id = ?", operation)


def test_nothing_is_asked_in_a_hidden_tab(ui_server, admin_page):
    operation = run_operation(ui_server)
    try:
        admin_page.goto("/app")
        admin_page.evaluate("Object.defineProperty(document, 'hidden', { get: () => true })")
        asked = []
        admin_page.wait_for_timeout(1500)
        admin_page.on("request", lambda request: asked.append(request.url))
        admin_page.wait_for_timeout(2500)
        assert asked == []
    finally:
        change(ui_server, "DELETE FROM inference_operation WHERE id = ?", operation)


def test_a_server_that_is_away_keeps_what_was_seen(ui_server, admin_page):
    admin_page.expected += ["ERR_FAILED", "status of 503"]
    operation = run_operation(ui_server)
    try:
        admin_page.goto("/app")
        admin_page.context.route("**/app/operations", lambda route: route.abort())
        admin_page.wait_for_timeout(2500)
        assert admin_page.get_by_role("progressbar", name="Qwen3 8B").is_visible()
        assert admin_page.locator("[data-toast]:not(template *)").count() == 0
        admin_page.context.unroute("**/app/operations")
    finally:
        change(ui_server, "DELETE FROM inference_operation WHERE id = ?", operation)


def test_a_get_is_asked_again_by_itself(user_page):
    user_page.expected.append("status of 503")
    user_page.goto("/app")
    times = []

    def answer(route):
        times.append(1)
        if len(times) < 3:
            route.fulfill(status=503, body="{}", content_type="application/json")
        else:
            route.continue_()

    user_page.context.route("**/api/auth/me", answer)
    status = user_page.evaluate(
        """() => import("/static/js/requests.js")
          .then(({ ask }) => ask("/api/auth/me")).then((answer) => answer.status)"""
    )
    assert (status, len(times)) == (200, 3)
    times.clear()
    posted = user_page.evaluate(
        """() => import("/static/js/requests.js")
          .then(({ ask }) => ask("/api/auth/me", { method: "POST" })).then((answer) => answer.status)"""
    )
    assert (posted, len(times)) == (503, 1)
