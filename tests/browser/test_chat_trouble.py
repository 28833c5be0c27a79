"""The chat page when something is refused, breaks off, or is used up: what came and what was typed stays."""

import re

import pytest

from tests.browser.chat_page import told
from tests.browser.pages import assert_accessible, shoot


def test_an_answer_that_breaks_off_says_so_and_offers_both_ways(chat):
    chat.ask(told(tokens=50, die_after=20))
    chat.page.get_by_text("Cut off after 20 tokens. What arrived is kept.").wait_for()
    note = chat.page.get_by_role("alert").filter(has_text="The connection to the model broke.")
    note.get_by_role("button", name="Continue answer").wait_for()
    assert_accessible(chat.page)
    shoot(chat.page, "chat-broken", full=False)
    note.get_by_role("button", name="Regenerate").click()
    chat.page.get_by_text("2 / 2").wait_for()


def test_a_refusal_keeps_what_was_typed(chat):
    chat.page.expected.append("status of 50")
    words = told(status=500)
    chat.say(words)
    chat.page.get_by_role("alert").get_by_text("m did not answer.").wait_for()
    assert chat.composer.input_value() == words
    assert chat.questions.count() == 0
    assert chat.page.url.endswith("/app/chat")
    chat.page.get_by_role("button", name="Dismiss").click()
    assert chat.page.get_by_role("alert").count() == 0


def test_a_session_that_ended_keeps_what_was_typed(chat):
    chat.page.expected.append("status of 401")
    chat.composer.fill(told(tokens=4))
    chat.page.context.clear_cookies()
    chat.composer.press("Enter")
    dialog = chat.page.get_by_role("dialog", name="Sign in again")
    dialog.get_by_label("Password").fill("correct horse lamp")
    dialog.get_by_role("button", name="Sign in").click()
    chat.answers.first.wait_for()
    chat.settled()
    assert chat.words == ["token"] * 4


def admin_set(ui_server, path, body):
    with ui_server.client() as admin:
        answer = admin.put(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def bob_id(ui_server):
    with ui_server.client() as admin:
        people = admin.get("/api/auth/admin/users").json()["users"]
    return next(each["id"] for each in people if each["email"] == "bob@example.org")


def test_a_model_that_loads_is_waited_for_and_the_message_sent_then(chat):
    chat.page.expected.append("status of 503")
    refused = []

    def load_once(route):
        if refused:
            route.continue_()
            return
        refused.append(True)
        error = {"message": "loading", "code": 503, "type": "x", "reason": "model_loading"}
        route.fulfill(status=503, headers={"Retry-After": "2"}, json={"error": error})

    chat.page.route("**/messages", load_once)
    chat.say(told(tokens=3))
    chat.page.get_by_text("m is loading. About 2 s left; your message is sent then.").wait_for()
    chat.page.get_by_role("button", name="Stop").wait_for()
    chat.answers.first.wait_for()
    chat.settled()
    assert chat.words == ["token"] * 3
    assert chat.page.get_by_text("m is loading.").count() == 0


CUT_ONCE = """() => {
  const real = window.fetch; let isCut = false;
  window.fetch = async (...given) => {
    const answer = await real(...given);
    if (isCut || !answer.headers.get("content-type")?.includes("event-stream")) return answer;
    isCut = true; let n = 0;
    const cut = new TransformStream({ transform(piece, out) {
      n += 1; if (n > 12) out.error(new Error("cut")); else out.enqueue(piece); } });
    return new Response(answer.body.pipeThrough(cut), answer);
  };
}"""


def test_a_connection_that_broke_is_taken_up_again(chat):
    chat.page.evaluate(CUT_ONCE)
    chat.say(told(tokens=80, tick=0.05))
    chat.page.get_by_text("Reconnecting").wait_for()
    chat.settled()
    assert chat.words == ["token"] * 80


def test_a_reached_limit_says_until_when_and_stops_sending_alone(chat, ui_server, bob_id):
    chat.page.expected.append("status of 429")
    path = f"/api/auth/admin/users/{bob_id}/quotas"
    rule = admin_set(ui_server, path, {"window": "1h", "model": "m", "max_requests": 10_000})
    try:
        chat.open()
        chat.page.get_by_text(re.compile(r"of 10,000 requests left this hour")).wait_for()
        used = int(chat.page.locator("#chat-left bdi").first.inner_text().replace(",", ""))
        chat.ask(told(tokens=2))
        chat.page.get_by_text(f"{used - 1:,} of 10,000 requests left this hour").wait_for()
        admin_set(ui_server, path, {"window": "1h", "model": "m", "max_requests": 1})
        chat.page.wait_for_timeout(500)  # the workers hear of it
        chat.say("one more")
        chat.page.get_by_text("Hourly limit of m reached.").wait_for()
        chat.page.get_by_text(re.compile(r"You can go on at \d\d:\d\d")).wait_for()
        assert chat.page.get_by_role("button", name="Send").is_disabled()
        assert chat.composer.input_value() == "one more"
        assert_accessible(chat.page)
        shoot(chat.page, "chat-limit", full=False)
    finally:
        with ui_server.client() as admin:
            admin.delete(f"{path}/{rule['quota']['id']}")


def test_a_model_taken_away_is_said_in_plain_words(chat, ui_server, bob_id):
    chat.page.expected.append("status of 403")
    path = f"/api/auth/admin/users/{bob_id}/models"
    try:
        admin_set(ui_server, path, {"enabled": True, "models": ["other"]})
        chat.page.wait_for_timeout(500)
        chat.say("hello")
        chat.page.get_by_role("alert").get_by_text("You may not use this model.").wait_for()
        assert chat.composer.input_value() == "hello"
    finally:
        admin_set(ui_server, path, {"enabled": False, "models": []})
