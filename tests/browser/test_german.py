"""R-24 in German: every page speaks the reader's language throughout, and its longer words fit."""

import pytest

from tests.browser.conftest import ADMIN
from tests.browser.pages import shoot
from tests.browser.test_every_page import ADMINS, BEFORE_SIGN_IN, NARROW_ENOUGH, USERS
from tests.catalogues import entries
from tests.servers import ROOT

pytestmark = pytest.mark.timeout(300)
_ENTRIES = entries((ROOT / "locale/de/LC_MESSAGES/django.po").read_text())
_GERMAN = {text for each in _ENTRIES for text in each.msgstr}
# Texts that say something else in German: none may stand on a German page.
ENGLISH = {text for each in _ENTRIES for text in (each.msgid, each.plural) if text} - _GERMAN
SAID = """() => {
  const said = [document.title.split(" · ")[0]];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    if (!walk.currentNode.parentElement.closest("code, pre, script, bdi")) said.push(walk.currentNode.data);
  }
  for (const each of document.querySelectorAll("[aria-label], [title], [placeholder]")) {
    for (const name of ["aria-label", "title", "placeholder"]) said.push(each.getAttribute(name) || "");
  }
  return said.map((each) => each.trim().replace(/\\s+/g, " ")).filter(Boolean);
}"""
# Data: tags of a gallery's models, kinds of engine calls as the API names them.
NOT_OURS = {"Small", "Reasoning", "detection", "transcription"}


def is_whole(page, address):
    """Not a fragment or a file, which the gate's table holds too."""
    return page.context.request.get(address).text().lower().startswith("<!doctype html>")


def read(page, address):
    answer = page.goto(address, wait_until="networkidle")
    assert answer.headers["content-language"] == "de", address
    assert page.evaluate("document.documentElement.lang") == "de"
    assert sorted((set(page.evaluate(SAID)) & ENGLISH) - NOT_OURS) == [], address
    for width in (320, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(NARROW_ENOUGH), f"{address} scrolls sideways at {width} px"
    shoot(page, "de-" + address.strip("/").replace("/", "-").replace("?", "-"))


@pytest.mark.parametrize("address", BEFORE_SIGN_IN)
def test_r24_german_before_sign_in(ui_server, open_page, address):
    read(open_page(ui_server, locale="de-DE"), address)


@pytest.mark.parametrize("address", sorted({*ADMINS, *USERS}))
def test_r24_german_signed_in(ui_server, open_page, address):
    page = open_page(ui_server, locale="de-DE", email=ADMIN)
    if not is_whole(page, address):
        pytest.skip("no page of its own")
    read(page, address)
