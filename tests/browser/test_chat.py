"""The chat page on a real server with the stub engine: R-39, W-27, and the flows of section 6."""

import json
import re
import time

import pytest

from tests.browser.frames import work_per_frame
from tests.browser.pages import assert_accessible, problems_of, shoot


def told(**what) -> str:
    """A message that tells the stub engine what to do."""
    return "stub " + json.dumps(what)


def saying(words: str, **what) -> str:
    """The same, for an answer of one piece (or `tokens` of them) that says `words`."""
    return told(**{"tokens": 1, "words": json.dumps(words)[1:-1], **what})


class ChatPage:
    """What a person sees and does there, by labels and roles."""

    def __init__(self, page) -> None:
        self.page = page
        self.thread = page.get_by_role("region", name="Messages")
        self.composer = page.get_by_role("textbox", name="Message")
        self.answers = page.locator("article.msg:not(.user)")
        self.questions = page.locator("article.msg.user")
        self.list = page.get_by_label("Conversations", exact=True).locator("a[data-chat]")

    def open(self, path="/app/chat"):
        self.page.goto(path)
        self.page.locator("#thread > *").first.wait_for()
        return self

    def say(self, words):
        self.composer.fill(words)
        self.page.keyboard.press("Enter")

    def ask(self, words):
        """Says it, and waits for the whole answer."""
        n = self.answers.count()
        self.say(words)
        self.answers.nth(n).wait_for()
        self.settled()
        return self.answers.nth(n)

    def settled(self):
        self.page.locator("article[aria-busy]").wait_for(state="detached")
        self.page.get_by_role("button", name="Send").wait_for()

    @property
    def words(self):
        """Of the last answer."""
        return self.answers.last.locator(":scope > .md").inner_text().split()

    def do(self, button, of=None):
        (of or self.answers.last).get_by_role("button", name=button, exact=True).click()

    def menu(self, item):
        self.page.get_by_role("button", name="More", exact=True).click()
        self.page.get_by_role("button", name=item, exact=True).click()


@pytest.fixture
def chat(user_page) -> ChatPage:
    return ChatPage(user_page).open()


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
    assert chat.page.get_by_role("heading", level=1).inner_text() == 'Walrus <img src=x> "facts"'
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


HOSTILE = """<script>document.title = 'owned'</script><img src=x onerror="document.title='owned'">
<b style="position:fixed">bold</b>

[click](javascript:document.title='owned') [data](data:text/html,<script>1</script>)
![tracker](https://tracker.example/pixel.png) ![](//tracker.example/x.svg)
<https://safe.example/a> [safe](https://safe.example/b "t")

\x1b[31mred\x1b[0m \x1b]0;title\x07after\x9b1m bell\x07 back\x08space
admin\u202etxt.exe\u202c \u2066isolate\u2069

```html
<script>document.title = 'owned'</script>
```

```"><img src=x onerror=alert(1)>
x
```

| a |
|:-:|
| <svg onload=alert(1)> |

$\\href{javascript:alert(1)}{x}$ $$\\includegraphics{https://tracker.example/x.png}$$
"""


def test_hostile_output_is_harmless(chat):
    answer = chat.ask(saying(HOSTILE + "y" * 20_000))
    chat.page.wait_for_timeout(800)  # KaTeX and the worker
    md = answer.locator(":scope > .md")
    assert not chat.page.title().startswith("owned")
    assert md.locator("script, img, svg:not(.i), iframe, [style], [onerror], [onload]").count() == 0
    hrefs = {each.get_attribute("href") for each in md.locator("a").all()}
    assert hrefs == {"https://safe.example/a", "https://safe.example/b"}
    rels = {each.get_attribute("rel") for each in md.locator("a").all()}
    assert rels == {"noreferrer noopener"}
    text = md.text_content()
    assert "https://tracker.example/pixel.png" in text  # said, not fetched
    assert "red after bell backspace" in text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert chat.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    chat.page.reload()  # and the same from the server's own page
    chat.settled()
    chat.page.wait_for_timeout(500)
    assert md.locator("script, img, svg:not(.i), [style]").count() == 0
    assert problems_of(chat.page) == []


MARKDOWN = """# Title

Some **bold** and `code`, $e^{i\\pi}$ and $5 or $10.

1. one
2. two

```python
def f(x): return "x"
```

| a | b |
|---|--:|
| 1 | 2 |

\\[ x^2 \\]
"""


def test_markdown_code_and_formulas(chat):
    chat.ask(saying(MARKDOWN))
    md = chat.answers.last.locator(":scope > .md")
    md.locator("math").nth(1).wait_for()
    assert md.get_by_role("heading", name="Title").count() == 1
    assert md.locator("li").all_inner_texts() == ["one", "two"]
    assert "$5 or $10" in md.inner_text()
    md.locator(".hljs-keyword", has_text="def").wait_for()
    md.get_by_role("button", name="Copy").click()
    md.get_by_text("Copied").wait_for()
    copied = chat.page.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == 'def f(x): return "x"'
    assert md.locator("td").nth(1).evaluate("e => getComputedStyle(e).textAlign") == "end"
    assert_accessible(chat.page)
    chat.page.evaluate("document.getElementById('thread').scrollTop = 0")
    shoot(chat.page, "chat", full=False)


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


LONG = "plain words, " * 38 + "\n\n"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(told(tokens=420, tick=0.01, words=json.dumps(LONG)[1:-1]), id="200-kb"),
        pytest.param(told(tokens=400, tick=0.01, words=" *a* `b` c,"), id="one-paragraph"),
        pytest.param(
            told(tokens=300, tick=0.01, words="- an item of **some** words\\n"), id="a-list"
        ),
    ],
)
def test_a_streamed_answer_takes_less_than_8_ms_a_frame(chat, answer):
    def whole() -> None:
        chat.say(answer)
        chat.page.get_by_text(re.compile(r"Answering, \d+ tokens")).wait_for()
        chat.settled()

    work = work_per_frame(chat.page, whole)
    print(work)
    assert work.frames > 60
    assert work.mean < 8
    assert work.median < 8


def test_200_kb_come_whole_and_the_end_is_held(chat):
    chat.ask(told(tokens=420, words=json.dumps(LONG)[1:-1]))
    text = chat.answers.last.locator(":scope > .md").text_content()
    assert text.count("plain words") == 420 * 38
    chat.page.wait_for_timeout(300)
    assert chat.thread.evaluate("t => t.scrollHeight - t.scrollTop - t.clientHeight < 80")


def test_the_reader_is_not_pulled_to_the_end(chat):
    chat.ask(told(tokens=1, words=json.dumps("line\n\n" * 60)[1:-1]))
    chat.say(told(tokens=150, tick=0.03, words="line\\\\n\\\\n"))
    chat.page.get_by_text(re.compile(r"Answering, \d+ tokens")).wait_for()
    chat.thread.evaluate("t => { t.scrollTop = 0; }")
    chat.page.wait_for_timeout(700)
    assert chat.thread.evaluate("t => t.scrollTop") == 0
    chat.page.get_by_role("button", name="Jump to the end").click()
    chat.page.wait_for_timeout(300)
    assert chat.thread.evaluate("t => t.scrollHeight - t.scrollTop - t.clientHeight < 80")
    chat.page.keyboard.press("Escape")
    chat.settled()


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


def test_a_long_history_loads_page_by_page(chat, ui_server):
    chat.ask(told(tokens=1))
    chat_id = chat.page.url.rpartition("/")[2]
    lengthen(ui_server, chat_id, 5_000)
    chat.page.reload()
    chat.settled()
    assert chat.page.locator("article").count() == 50
    assert chat.thread.evaluate("t => t.scrollHeight - t.scrollTop - t.clientHeight < 80")
    first = chat.page.locator("article").first.get_attribute("data-id")
    chat.page.get_by_role("button", name="Earlier messages").click()
    chat.page.locator("article").nth(99).wait_for(state="attached")
    seen = f"article[data-id='{first}']"
    assert chat.page.locator(seen).bounding_box()["y"] > -200  # what was looked at stays near
    for _ in range(5):
        n = chat.page.locator("article").count()
        chat.thread.evaluate("t => { t.scrollTop = 0; }")
        chat.page.locator("article").nth(n).wait_for(state="attached")
    assert chat.page.locator("article").count() >= 300


def lengthen(server, chat_id, pairs):
    """Ten thousand messages at the end of a chat, straight into its database."""
    import sqlite3
    import uuid

    base = sqlite3.connect(server.folder / "data" / "database.db", timeout=30)
    columns = [row[1] for row in base.execute("PRAGMA table_info(chat_message)")]
    hexed = uuid.UUID(chat_id).hex
    (leaf,) = base.execute("SELECT leaf_id FROM chat_conversation WHERE id = ?", [hexed]).fetchone()
    found = base.execute("SELECT * FROM chat_message WHERE id = ?", [leaf]).fetchone()
    row = dict(zip(columns, found, strict=True))
    rows = []
    for i in range(pairs):
        for role in ("user", "assistant"):
            parent, depth = row["id"], row["depth"] + 1
            row = {**row, "id": uuid.uuid4().hex, "parent_id": parent, "depth": depth}
            row |= {"role": role, "content": f"**{role}** {i}", "status": "done"}
            rows.append(tuple(row.values()))
    marks = ",".join("?" * len(columns))
    base.executemany(f"INSERT INTO chat_message VALUES ({marks})", rows)
    base.execute(
        "UPDATE chat_conversation SET leaf_id = ?, n_messages = n_messages + ? WHERE id = ?",
        [row["id"], 2 * pairs, hexed],
    )
    base.commit()
    base.close()


def test_the_real_model_answers(real_server, open_page):
    page = open_page(real_server, email="bob@example.org")
    chat = ChatPage(page).open()
    answer = chat.ask("What is the capital of France? Answer in one short sentence.")
    assert len(chat.words) > 2
    said = answer.locator(".said").inner_text()
    assert re.search(r"\d+ tokens · [\d.,]+ tokens/s · first token after [\d.]+ s", said)
    chat.say("Tell me a very long story about the sea.")
    page.get_by_text(re.compile(r"Answering, \d+ tokens")).wait_for()
    page.keyboard.press("Escape")
    page.get_by_text(re.compile(r"Stopped after \d+ token")).wait_for()
    shoot(page, "chat-real", full=False)
