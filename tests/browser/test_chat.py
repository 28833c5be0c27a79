"""The chat page on a real server with the stub engine: R-39, W-27, and the flows of section 6."""

import re
import time

from tests.browser.chat_page import ChatPage, told
from tests.browser.pages import assert_accessible, shoot


def test_r39_an_answer_streams_and_says_its_counts(chat):
    chat.say(told(tokens=60, tick=0.03))
    chat.page.get_by_text(re.compile(r"Answering, \d+ tokens")).wait_for()
    early = len(chat.answers.last.inner_text())
    assert chat.page.get_by_role("status").filter(has_text="m is answering").count() == 1
    chat.settled()
    assert len(chat.answers.last.inner_text()) > early
    said = chat.answers.last.locator(".said").inner_text()
    assert re.fullmatch(r"60 tokens · [\d.]+ tokens/s · first token after [\d.]+ s", said)
    assert chat.answers.last.get_attribute("aria-label") == "m"
    assert chat.composer.input_value() == ""
    assert re.search(r"/app/chat/[0-9a-f-]{36}$", chat.page.url)
    assert chat.list.first.get_attribute("aria-current") == "page"
    chat.page.reload()
    assert chat.words == ["token"] * 60


def test_stop_keeps_what_came_and_it_can_go_on(chat):
    chat.say(told(tokens=400, tick=0.03))
    chat.page.get_by_text(re.compile(r"Answering, \d+ tokens")).wait_for()
    chat.page.keyboard.press("Escape")
    chat.page.get_by_text(re.compile(r"Stopped after \d+ tokens")).wait_for()
    words = len(chat.words)
    assert 0 < words < 400
    chat.do("Continue answer")
    while len(chat.words) <= words:
        chat.page.wait_for_timeout(50)
    chat.page.get_by_role("button", name="Stop").click()
    chat.settled()
    assert chat.questions.count() == 1
    assert chat.answers.count() == 1


def test_regenerate_and_switch_between_versions(chat):
    chat.ask(told(tokens=3))
    chat.do("Regenerate")
    chat.page.get_by_text("2 / 2").wait_for()
    chat.settled()
    assert chat.answers.count() == 1
    chat.do("Version before")
    chat.page.get_by_text("1 / 2").wait_for()
    assert chat.page.get_by_role("button", name="Version before").is_disabled()
    chat.page.reload()
    chat.page.get_by_text("1 / 2").wait_for()


def test_edit_by_arrow_up_makes_a_branch(chat):
    chat.ask(told(tokens=2))
    chat.ask(told(tokens=3))
    chat.composer.press("ArrowUp")
    field = chat.questions.last.get_by_role("textbox")
    field.fill(told(tokens=7))
    field.press("Enter")
    chat.questions.last.get_by_text("2 / 2").wait_for()
    chat.settled()
    assert chat.questions.count() == 2
    assert chat.words == ["token"] * 7
    chat.do("Version before", of=chat.questions.last)
    chat.questions.last.get_by_text("1 / 2").wait_for()
    assert chat.words == ["token"] * 3


def test_branch_from_here_goes_on_from_an_earlier_answer(chat):
    chat.ask(told(tokens=2))
    chat.ask(told(tokens=3))
    chat.do("Branch from here", of=chat.answers.first)
    chat.questions.nth(1).wait_for(state="detached")
    chat.ask(told(tokens=4))
    assert chat.questions.count() == 2
    chat.questions.last.get_by_text("2 / 2").wait_for()


def test_rename_search_export_and_delete(chat):
    chat.ask("Tell me of the walrus " + told(tokens=2))
    chat.menu("Rename")
    chat.page.get_by_role("textbox", name="Name").fill('Walrus <img src=x> "facts"')
    chat.page.get_by_role("dialog").get_by_role("button", name="Rename").click()
    chat.page.get_by_role("heading", level=1, name='Walrus <img src=x> "facts"').wait_for()
    chat.list.filter(has_text="Walrus <img src=x>").wait_for()
    search = chat.page.get_by_role("searchbox", name="Search conversations")
    search.fill("no such words anywhere")
    chat.page.get_by_text("Nothing found for").wait_for()
    search.fill("of the walrus")
    chat.list.filter(has_text="Walrus").wait_for()
    for item, name in (("Export as Markdown", ".md"), ("Export as JSON", ".json")):
        with chat.page.expect_download() as download:
            chat.menu(item)
        assert download.value.suggested_filename.endswith(name)
        assert "token token" in download.value.path().read_text()
    chat.menu("Delete")
    chat.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    chat.page.get_by_role("heading", name="Start a conversation").wait_for()
    assert chat.list.filter(has_text="Walrus").count() == 0


def test_a_reload_in_the_middle_finds_the_answer(chat):
    chat.say(told(tokens=60, tick=0.05))
    chat.page.get_by_text(re.compile(r"Answering, \d+ tokens")).wait_for()
    chat.page.reload()
    chat.page.get_by_text(re.compile(r"Answering, \d+ tokens")).wait_for()
    chat.settled()
    assert chat.words == ["token"] * 60


def test_a_tab_closed_in_the_middle_finds_all_of_it_later(chat):
    chat.say(told(tokens=40, tick=0.03))
    chat.page.get_by_text(re.compile(r"Answering, \d+ tokens")).wait_for()
    address = chat.page.url
    chat.page.goto("/app")
    time.sleep(2)
    chat.open(address)
    chat.settled()
    assert chat.words == ["token"] * 40


def test_two_tabs_see_the_same_answer(chat):
    chat.ask(told(tokens=2))
    other = ChatPage(chat.page.context.new_page())
    other.open(chat.page.url)
    chat.say(told(tokens=40, tick=0.05))
    other.page.get_by_text(re.compile(r"Answering")).wait_for()
    chat.settled()
    other.settled()
    assert other.words == ["token"] * 40
    assert other.questions.count() == 2
    other.page.close()


def test_files_go_along_and_what_does_not_fit_is_said(chat):
    chooser = chat.page.locator("#chat-file")
    chooser.set_input_files(
        [
            {"name": "notes <b>.txt", "mimeType": "text/plain", "buffer": b"a note"},
            {"name": "x.bin", "mimeType": "application/zip", "buffer": b"PK\x00\xff"},
        ]
    )
    chat.page.get_by_text("x.bin is neither a text file nor an image").wait_for()
    chooser.set_input_files(
        {"name": "cat.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\n"}
    )
    chat.page.get_by_text("m does not take images. Choose another model.").wait_for()
    assert chat.page.get_by_label("Attached files").locator("li").count() == 1
    chat.ask(told(tokens=2))
    assert chat.questions.last.get_by_text("notes <b>.txt").count() == 1


def test_settings_of_a_chat_are_kept(chat):
    chat.page.get_by_role("button", name="Chat settings").click()
    drawer = chat.page.get_by_role("dialog", name="Chat settings")
    drawer.get_by_label("System prompt").fill("Be brief.")
    drawer.get_by_label("Temperature").fill("0.4")
    drawer.get_by_label("Answer at most").fill("many")
    drawer.get_by_role("button", name="Save").click()
    drawer.get_by_text("Enter a whole number").wait_for()
    drawer.get_by_label("Answer at most").fill("64")
    assert_accessible(chat.page)
    shoot(chat.page, "chat-settings", full=False)
    drawer.get_by_role("button", name="Save").click()
    chat.ask(told(tokens=2))
    chat.page.reload()
    chat.page.get_by_role("button", name="Chat settings").click()
    assert drawer.get_by_label("System prompt").input_value() == "Be brief."
    assert drawer.get_by_label("Temperature").input_value() == "0.4"
    assert drawer.get_by_label("Answer at most").input_value() == "64"


def test_history_off_talks_all_the_same_and_keeps_nothing(chat):
    try:
        chat.page.get_by_role("button", name="Chat settings").click()
        chat.page.get_by_role("switch", name="Keep conversations").click()
        chat.page.get_by_text("History is off").wait_for()
        n_kept = chat.list.count()
        chat.ask(told(tokens=3))
        chat.do("Regenerate")
        chat.page.get_by_text("2 / 2").wait_for()
        chat.settled()
        assert chat.list.count() == n_kept
        assert chat.page.url.endswith("/app/chat")
        with chat.page.expect_download() as download:
            chat.menu("Export as Markdown")
        assert "token token token" in download.value.path().read_text()
        chat.say(told(tokens=300, tick=0.03))
        chat.page.get_by_text(re.compile(r"Answering, \d+ tokens")).wait_for()
        chat.page.keyboard.press("Escape")
        chat.page.get_by_text(re.compile(r"Stopped")).wait_for()
    finally:
        chat.page.context.request.put("/api/chats/preferences", data={"history": True})


def test_the_keyboard_alone_will_do(chat):
    chat.ask(told(tokens=2))
    chat.composer.press("Shift+Enter")
    assert chat.composer.input_value() == "\n"
    chat.composer.fill("")
    chat.thread.focus()
    chat.page.keyboard.press("/")
    assert chat.page.evaluate("document.activeElement.type") == "search"
    chat.thread.focus()
    chat.page.keyboard.press("n")
    chat.page.get_by_role("heading", name="Start a conversation").wait_for()
    assert chat.page.url.endswith("/app/chat")


def test_without_script_the_form_gets_its_answer(ui_server, open_page):
    page = open_page(ui_server, email="bob@example.org", java_script_enabled=False)
    page.goto("/app/chat")
    page.get_by_label("Message", exact=True).fill(told(tokens=5))
    page.get_by_role("button", name="Send").click()
    page.wait_for_url(re.compile(r"/app/chat/[0-9a-f-]{36}"))
    page.get_by_text("token token token token token").wait_for(timeout=10_000)


def test_an_empty_chat_is_accessible_and_fits_a_phone(chat):
    assert_accessible(chat.page)
    shoot(chat.page, "chat-empty", full=False)
    chat.page.set_viewport_size({"width": 360, "height": 740})
    assert chat.page.evaluate("document.documentElement.scrollWidth <= 360")
    chat.page.get_by_role("button", name="Conversations").click()
    chat.page.get_by_role("link", name="New chat").wait_for()
    assert_accessible(chat.page)
