"""What a person sees and does on the chat page, and how the stub engine is told what to answer."""

import json


def told(**what) -> str:
    """A message that tells the stub engine what to do."""
    return "stub " + json.dumps(what)


def saying(words: str, **what) -> str:
    """The same, for an answer of one piece (or `tokens` of them) that says `words`."""
    return told(**{"tokens": 1, "words": json.dumps(words)[1:-1], **what})


def saying_slowly(text: str, **what) -> str:
    """The same, a word at a time."""
    words = [json.dumps(each)[1:-1] for each in text.split(" ")]
    return told(tokens=len(words), words=words, **what)


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
