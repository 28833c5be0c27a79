"""The chat page over a bad network, beside other tabs, with an engine or a session that goes away (R-39).

Nothing is lost, nothing comes twice, and what was typed stays.
"""

import re
import time

import pytest

from tests.browser.bad_line import ALL, DOWN, FINE, NONE_OF_IT, BadLine, Trouble
from tests.browser.chat_page import ChatPage, saying, told
from tests.servers import PASSWORD

ANSWERING = re.compile(r"Answering")
VERSIONS = re.compile(r"\d / \d")
PIECE = " żółw 🦜"  # several bytes a character, so that a cut goes through the middle of one


def pieces(n, **what):
    return told(tokens=n, words=PIECE.strip(), **what)


@pytest.fixture
def line(ui_server):
    made = BadLine(ui_server.port)
    yield made
    made.stop()


@pytest.fixture
def far(ui_server, open_page, line):
    """Bob at a new chat, at the other end of the line."""
    page = open_page(line, email="bob@example.org")
    page.expected += ["net::ERR_", "status of 50", "status of 404"]
    return ChatPage(page).open()


def streams(trouble, *, begin=FINE):
    """Trouble for answers that are followed; `begin` for those that begin one."""

    def chosen(line):
        if "/stream?" in line:
            return trouble
        return begin if line.startswith("POST") and "/messages" in line else FINE

    return chosen


def whole(chat, n):
    chat.settled()
    assert chat.answers.last.locator(":scope > .md").inner_text() == (PIECE * n).strip()
    shown = [each.inner_text() for each in chat.questions.all()]
    chat.page.reload()  # and the server has the same
    chat.settled()
    assert chat.answers.last.locator(":scope > .md").inner_text() == (PIECE * n).strip()
    assert [each.inner_text() for each in chat.questions.all()] == shown


@pytest.mark.parametrize(
    ("trouble", "drops"),
    [
        pytest.param(Trouble(cut_after=1500), 0, id="every-stream-is-cut"),
        pytest.param(Trouble(cut_after=2000), 2, id="every-second-connection-is-dropped"),
        pytest.param(Trouble(piece=7, pause_s=0.001), 0, id="it-drips"),
    ],
)
def test_over_a_bad_line_the_whole_answer_comes_once(far, line, trouble, drops):
    cut = trouble.cut_after < ALL
    begin = Trouble(cut_after=4000) if cut else trouble
    line.trouble, line.drops = streams(trouble, begin=begin), drops
    far.say(pieces(90, tick=0.02))
    far.answers.first.wait_for()
    far.settled()
    assert (line.cuts > 1) == cut
    line.fine()
    whole(far, 90)
    assert far.questions.count() == far.answers.count() == 1
    assert not VERSIONS.search(far.thread.inner_text())
    assert far.composer.input_value() == ""


@pytest.mark.parametrize("is_new", [True, False])
def test_a_message_whose_response_was_lost_is_not_said_twice(far, line, is_new):
    if not is_new:
        far.ask(told(tokens=1))
    line.trouble = streams(FINE, begin=NONE_OF_IT)
    far.say(pieces(40, tick=0.02))
    far.page.get_by_text(ANSWERING).wait_for()
    line.fine()
    whole(far, 40)
    assert far.questions.count() == (1 if is_new else 2)
    assert far.composer.input_value() == ""
    assert not VERSIONS.search(far.thread.inner_text())


def test_a_chat_whose_making_nobody_heard_of_is_made_once(far, line):
    line.trouble = lambda asked: NONE_OF_IT if asked.startswith("POST /api/chats ") else FINE
    far.say(pieces(3))
    far.page.get_by_role("alert").get_by_text("The server cannot be reached.").wait_for()
    assert line.cuts > 1  # the browser sent it again by itself
    line.fine()
    before = far.page.request.get("/api/chats").json()["chats"]
    far.page.get_by_role("button", name="Send").click()
    whole(far, 3)
    after = far.page.request.get("/api/chats").json()["chats"]
    assert [each["id"] for each in after] == [each["id"] for each in before]


def test_a_message_of_which_nobody_knows_whether_it_arrived_is_looked_for_first(far, line):
    far.ask(told(tokens=1))
    n = far.questions.count()
    line.trouble = lambda _: NONE_OF_IT
    far.say(pieces(3))
    far.page.get_by_role("alert").get_by_text("The server cannot be reached.").wait_for()
    assert far.composer.input_value() == pieces(3)
    line.fine()
    far.page.get_by_role("button", name="Send").click()
    far.answers.nth(n).wait_for()
    whole(far, 3)
    assert far.questions.count() == n + 1
    assert not VERSIONS.search(far.thread.inner_text())
    assert far.composer.input_value() == ""


def test_without_a_server_the_words_are_plain_and_the_text_stays(far, line):
    line.trouble = lambda _: DOWN
    far.say("Are you there?")
    far.page.get_by_role("alert").get_by_text("The server cannot be reached.").wait_for()
    assert far.composer.input_value() == "Are you there?"
    line.fine()
    far.composer.fill(told(tokens=3))
    far.page.keyboard.press("Enter")
    far.answers.first.wait_for()
    far.settled()
    assert far.words == ["token"] * 3


def test_a_line_that_falls_silent_is_given_up(far, line):
    far.page.clock.install()
    line.trouble = streams(FINE, begin=Trouble(silent_after=4000))
    far.say(pieces(90, tick=0.02))
    far.page.get_by_text(re.compile(r"Answering, \d+ tokens")).wait_for()
    time.sleep(1)
    far.page.clock.fast_forward(41_000)
    far.settled()
    line.fine()
    whole(far, 90)


def test_what_is_typed_while_a_message_goes_out_stays(chat):
    chat.page.route("**/messages", lambda route: (time.sleep(0.5), route.continue_()))
    first = told(tokens=2)
    chat.say(first)
    chat.composer.press_sequentially(" and this")
    chat.answers.first.wait_for()
    chat.settled()
    assert chat.composer.input_value() == "and this"
    assert chat.questions.last.inner_text() == first


def test_stop_before_it_begins_stops_it_on_the_server_too(chat, ui_server):
    chat.ask(told(tokens=1))
    chat.say(told(hang=True))
    chat.page.get_by_role("button", name="Stop").wait_for()
    chat.page.wait_for_timeout(300)
    chat.page.keyboard.press("Escape")
    chat.page.get_by_text("Stopped.").wait_for()
    chat.settled()
    assert chat.questions.count() == 2
    assert chat.composer.input_value() == ""
    ui_server.until(lambda: ui_server.engine.state()["active"] == 0, 5)


# --- the engine ---------------------------------------------------------------------------------------


@pytest.fixture
def engine_line(ui_server):
    yield ui_server.engine_line
    ui_server.engine_line.fine()


def test_an_engine_that_is_away_is_said_and_the_message_goes_out_when_it_is_back(chat, engine_line):
    chat.page.expected.append("status of 50")
    # Not for those who ask what it lists, or it would be known to be away: the next test.
    engine_line.trouble = lambda line: DOWN if line.startswith("POST") else FINE
    words = told(tokens=3)
    chat.say(words)
    alert = chat.page.locator("#chat-note [role=alert]")
    alert.get_by_text("m did not answer.").wait_for()
    assert chat.composer.input_value() == words
    assert chat.questions.count() == 0
    engine_line.fine()
    chat.page.get_by_role("button", name="Send").click()
    chat.answers.wait_for()
    chat.settled()
    assert chat.words == ["token"] * 3
    assert chat.questions.count() == 1


def test_a_message_to_an_engine_that_is_known_to_be_away_goes_out_by_itself(chat, engine_line):
    chat.page.expected.append("status of 50")
    engine_line.trouble, engine_line.drops = lambda _: DOWN, 1
    chat.say(told(tokens=3))
    known = chat.page.get_by_text("m is loading. About 5 s left; your message is sent then.")
    new = chat.page.get_by_text("m did not answer.")
    until = time.monotonic() + 30  # each worker asks every 5 s whether it is there
    while time.monotonic() < until:
        known.or_(new).first.wait_for()
        if known.count():
            break
        chat.page.get_by_role("button", name="Send").click()
        chat.page.wait_for_timeout(200)
    known.wait_for()
    engine_line.fine()
    chat.answers.wait_for()
    chat.settled()
    assert chat.words == ["token"] * 3
    assert chat.questions.count() == 1
    assert chat.composer.input_value() == ""


def test_an_engine_that_goes_away_in_the_middle_is_continued_when_it_is_back(chat, engine_line):
    chat.page.expected.append("status of 50")
    engine_line.trouble = lambda line: Trouble(cut_after=9000) if "/chat/" in line else FINE
    chat.say(told(tokens=90, tick=0.01))
    chat.page.get_by_text(
        re.compile(r"Cut off after \d+ tokens?\. What arrived is kept\.")
    ).wait_for()
    n = len(chat.words)
    assert 0 < n < 90
    assert chat.words == ["token"] * n
    engine_line.fine()
    note = chat.page.locator(".broken")
    for _ in range(20):
        note.get_by_role("button", name="Continue answer").click()
        chat.page.wait_for_timeout(500)
        chat.settled()
        if not note.count():
            break
    assert chat.words == ["token"] * (n + 90)  # the stub begins anew
    assert chat.questions.count() == chat.answers.count() == 1


# --- two tabs ----------------------------------------------------------------------------------------


@pytest.fixture
def other(chat):
    """A second tab at the same conversation."""
    chat.ask(told(tokens=2))
    return ChatPage(chat.page.context.new_page()).open(chat.page.url)


def test_an_answer_of_one_tab_is_stopped_in_the_other(chat, other):
    chat.say(told(tokens=400, tick=0.03))
    other.page.get_by_text(re.compile(r"Answering, \d+ tokens")).wait_for()
    other.page.get_by_role("button", name="Stop").click()
    chat.page.get_by_text(re.compile(r"Stopped after \d+ token")).wait_for()
    chat.settled()
    other.settled()
    assert chat.words == other.words
    assert 0 < len(chat.words) < 400


def test_renamed_in_one_tab_while_the_other_is_answered(chat, other):
    other.say(told(tokens=60, tick=0.03))
    other.page.get_by_text(ANSWERING).wait_for()
    name = "$& <b>&amp;</b> $'"
    chat.menu("Rename")
    chat.page.get_by_role("textbox", name="Name").fill(name)
    chat.page.get_by_role("dialog").get_by_role("button", name="Rename").click()
    for each in (chat, other):
        each.page.get_by_role("heading", level=1, name=name).wait_for()
        assert each.page.title().startswith(f"{name} · ")
        each.settled()
        assert each.words == ["token"] * 60


def test_deleted_in_one_tab_while_the_other_is_answered(chat, other):
    for each in (chat, other):  # which may ask for what is gone before they hear of it
        each.page.expected.append("status of 404")
    other.page.once("dialog", lambda dialog: dialog.accept())
    other.say(told(tokens=400, tick=0.03))
    other.page.get_by_text(ANSWERING).wait_for()
    other.composer.fill("half a thought")
    chat.menu("Delete")
    chat.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    other.page.get_by_text("This conversation was deleted elsewhere.").wait_for()
    other.page.get_by_role("heading", name="Start a conversation").wait_for()
    assert other.composer.input_value() == "half a thought"
    other.ask(told(tokens=2))
    assert other.questions.count() == 1


def test_deleted_in_one_tab_while_the_other_is_idle(chat, other):
    other.page.expected.append("status of 404")
    other.composer.fill("half a thought")
    chat.menu("Delete")
    chat.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    other.page.get_by_text("This conversation was deleted elsewhere.").wait_for()
    other.page.reload()
    assert other.composer.input_value() == "half a thought"


def test_an_edit_is_not_lost_to_the_other_tab(chat, other):
    chat.composer.press("ArrowUp")
    field = chat.questions.last.get_by_role("textbox")
    field.fill("half a thought")
    other.ask(told(tokens=3))
    chat.page.wait_for_timeout(300)
    assert field.input_value() == "half a thought"
    field.press("Escape")
    chat.questions.nth(1).wait_for()  # and then it is shown
    assert chat.words == ["token"] * 3


def test_what_the_reader_looks_at_is_not_moved_by_the_other_tab(chat, other):
    chat.ask(saying("line\n\n" * 80))
    other.settled()
    chat.thread.evaluate("t => { t.scrollTop = 0; }")
    other.menu("Rename")
    other.page.get_by_role("textbox", name="Name").fill("Lines")
    other.page.get_by_role("dialog").get_by_role("button", name="Rename").click()
    chat.page.get_by_role("heading", level=1, name="Lines").wait_for()
    chat.page.wait_for_timeout(200)
    assert chat.thread.evaluate("t => t.scrollTop") == 0


# --- a session that ends -------------------------------------------------------------------------------


def sign_in_again(chat):
    dialog = chat.page.get_by_role("dialog", name="Sign in again")
    dialog.get_by_label("Password").fill(PASSWORD)
    dialog.get_by_role("button", name="Sign in").click()
    dialog.wait_for(state="hidden")


def test_a_session_that_ends_in_the_middle_of_an_answer(far, line):
    far.page.expected.append("status of 401")
    line.trouble = streams(FINE, begin=Trouble(cut_after=4000))
    far.say(pieces(90, tick=0.02))
    far.page.get_by_text(ANSWERING).wait_for()
    far.composer.fill("the next thought")
    far.page.context.clear_cookies()
    sign_in_again(far)
    far.settled()
    assert far.composer.input_value() == "the next thought"
    line.fine()
    whole(far, 90)
    assert far.composer.input_value() == "the next thought"


def test_who_does_not_sign_in_again_is_asked_once(far, line):
    far.page.expected.append("status of 401")
    line.trouble = streams(FINE, begin=Trouble(cut_after=4000))
    far.say(pieces(90, tick=0.02))
    far.page.get_by_text(ANSWERING).wait_for()
    cookies = far.page.context.cookies()
    far.page.context.clear_cookies()
    dialog = far.page.get_by_role("dialog", name="Sign in again")
    dialog.get_by_role("button", name="Close").click()
    far.page.locator("#chat-note [role=alert]").wait_for()
    far.page.wait_for_timeout(1500)
    assert not dialog.is_visible()
    far.page.context.add_cookies(cookies)
    line.fine()
    far.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    far.page.get_by_text(re.compile("90 tokens ·")).wait_for()
    whole(far, 90)


def test_an_edit_with_a_file_after_the_session_ended_sends_the_file_itself(chat, ui_server):
    chat.page.expected.append("status of 401")
    file = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"a note"}
    chat.page.locator("#chat-file").set_input_files(file)
    chat.page.get_by_label("Attached files").locator("li").wait_for()
    chat.ask(told(tokens=2))
    chat.composer.press("ArrowUp")
    field = chat.questions.last.get_by_role("textbox")
    field.fill("What does it say?")
    chat.page.context.clear_cookies()
    field.press("Enter")
    sign_in_again(chat)
    chat.questions.last.get_by_text("2 / 2").wait_for()
    chat.settled()
    (sent,) = ui_server.engine.state()["body"]["messages"]
    assert sent["content"] == "notes.txt:\n```\na note\n```\n\nWhat does it say?"
