"""What stands visibly in a template without a mark for translation: texts, attributes, words for parts."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser

from django.template.base import Lexer, Token, TokenType

SPOKEN = {"aria-label", "aria-description", "title", "placeholder", "alt", "summary"}
SPOKEN_DATA = re.compile(r"data-(confirm|busy-label)")
SILENT = {"script", "style", "code", "kbd", "pre", "svg"}
# What tags of `ui` show of their arguments (accounts/templatetags/ui.py).
WORDS = re.compile(
    r"\b(label|title|text|hint|placeholder|link_text|action_label|foot|error|missing"
    r"|confirm|confirm_text|confirm_action|busy_label|resets|used)=(\"[^\"]*\"|'[^']*')"
)
_LETTERS = re.compile(r"[^\W\d_]{2,}")
_VALUE = "\u2420"  # in place of `{{ … }}`: no letter


class _Page(HTMLParser):
    """Texts and spoken attributes of markup whose template tags are taken out."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in SILENT
        for name, value in attrs:
            if value and (name in SPOKEN or SPOKEN_DATA.match(name)):
                self.found.append(value)

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in SILENT and self._silent > 0

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.found.append(data)


def unmarked(source: str) -> list[str]:
    """Texts with letters outside `translate` and `blocktranslate`, in order."""
    page = _Page()
    page.feed("".join(_shown(source)))
    page.close()
    literals = [
        text
        for token in _outside(source)
        if token.token_type == TokenType.BLOCK and not token.contents.startswith("codeblock")
        for _name, text in WORDS.findall(_without_marked(token.contents))
    ]
    texts = [" ".join(each.split()) for each in [*page.found, *literals]]
    return [each for each in texts if _LETTERS.search(each)]


def _without_marked(contents: str) -> str:
    return re.sub(r"_\((\"[^\"]*\"|'[^']*')\)", "", contents)


def _shown(source: str) -> Iterator[str]:
    for token in _outside(source):
        if token.token_type == TokenType.TEXT:
            yield token.contents
        elif token.token_type == TokenType.VAR:
            yield _VALUE


def _outside(source: str) -> Iterator[Token]:
    """The tokens that are in no comment, no `blocktranslate`, no code sample."""
    closing = ""
    for token in Lexer(source).tokenize():
        name = token.contents.split(" ", 1)[0] if token.token_type == TokenType.BLOCK else ""
        if closing:
            closing = "" if name == closing else closing
            continue
        if name in {"comment", "blocktranslate", "blocktrans", "codeblock", "verbatim"}:
            closing = f"end{name}"
        yield token
