"""What models write on the chat page: hostile, formatted, long (R-39)."""

import json
import re

import pytest

from tests.browser.chat_page import saying, saying_slowly, told
from tests.browser.frames import work_per_frame
from tests.browser.pages import assert_accessible, problems_of, shoot

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
    assert problems_of(chat.page.context) == []


HOSTILE_NAME = "<img src=x onerror=\"document.title='owned'\">\u202etxt.exe {n} $& " + "w" * 120


def test_hostile_titles_file_names_and_prompts_are_text(chat):
    made = chat.page.context.request.post(
        "/api/chats", data={"title": HOSTILE_NAME, "system": f"</textarea>{HOSTILE_NAME}"}
    ).json()
    chat.page.set_viewport_size({"width": 360, "height": 740})
    chat.open(f"/app/chat/{made['id']}")
    file = {"name": f"{HOSTILE_NAME}.txt", "mimeType": "text/plain", "buffer": b"a note"}
    chat.page.locator("#chat-file").set_input_files(file)
    chat.page.get_by_label("Attached files").locator("li").wait_for()
    chat.ask(told(tokens=1))
    for _ in range(2):
        assert chat.page.locator("img[src=x]").count() == 0
        assert "owned" not in chat.page.title()[: len("owned")]
        assert chat.page.get_by_role("heading", level=1).inner_text().startswith("<img src=x")
        assert chat.questions.last.get_by_role("link").inner_text().startswith("<img src=x")
        assert chat.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        chat.page.get_by_role("button", name="Chat settings").click()
        prompt = chat.page.get_by_label("System prompt")
        assert prompt.input_value() == f"</textarea>{HOSTILE_NAME}"
        chat.page.keyboard.press("Escape")
        chat.page.reload()
        chat.settled()
    assert "\u202e" not in chat.questions.last.inner_text()
    with chat.page.expect_download() as download:
        chat.menu("Export as Markdown")
    assert download.value.suggested_filename.startswith("img-src-x")


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


def test_formulas_before_katex_came_are_written_anew(chat):
    held = []
    chat.page.route("**/katex*.js", lambda route: held.append(route))  # noqa: PLW0108  # it sets a mark on what it calls
    words = json.dumps("so $a^2$ it is\n\n")[1:-1]
    chat.say(told(tokens=100, tick=0.03, words=words))
    md = chat.answers.last.locator(":scope > .md")
    md.locator("code.math").nth(3).wait_for()
    held.pop().continue_()
    md.locator("math").nth(3).wait_for()  # while the answer goes on
    chat.settled()

    md.locator("math").nth(99).wait_for()
    assert md.locator("code.math").count() == 0


LONG = "plain words, " * 38 + "\n\n"
SENTENCE = "An engine keeps what it has read of a prompt, so that the next question of the same talk is read *once*. "
ORDINARY = f"""## Why it is faster

{SENTENCE * 3}

1. **First** the prompt is cut into blocks of `16` tokens, and each has a name.
2. **Then** the names are looked up, and only what is new is read.
3. What was not asked for in a while goes.

```python
def read(prompt: list[int]) -> int:
    blocks = [prompt[i : i + 16] for i in range(0, len(prompt), 16)]
    known = sum(1 for each in blocks if tuple(each) in CACHE)
    return len(blocks) - known
```

{SENTENCE * 2}So $n$ blocks cost $n - k$, see the table.

| blocks | known | read |
|---|--:|--:|
| 10 | 0 | 10 |
| 10 | 9 | 1 |

{SENTENCE * 4}
"""


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(saying_slowly(ORDINARY, tick=0.016), id="as-models-write"),
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
    md = chat.answers.last.locator(":scope > .md")
    assert md.text_content().count("plain words") == 420 * 38
    chat.page.wait_for_timeout(300)
    assert chat.thread.evaluate("t => t.scrollHeight - t.scrollTop - t.clientHeight < 80")
    chat.page.reload()
    chat.settled()
    chat.page.wait_for_function(
        "n => document.querySelector('article:last-of-type > .md').textContent.split('plain words').length > n",
        arg=420 * 38,
    )
    assert md.text_content().count("plain words") == 420 * 38


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
            row |= {"request_key": "", "role": role, "content": f"**{role}** {i}", "status": "done"}
            rows.append(tuple(row.values()))
    marks = ",".join("?" * len(columns))
    base.executemany(f"INSERT INTO chat_message VALUES ({marks})", rows)
    base.execute(
        "UPDATE chat_conversation SET leaf_id = ?, n_messages = n_messages + ? WHERE id = ?",
        [row["id"], 2 * pairs, hexed],
    )
    base.commit()
    base.close()
