"""Static files of a real server: hashed names that hold, compressed, conditional; nothing inline."""

import re
from urllib.parse import urljoin

import httpx
import pytest

from core.static_collection import collection_folder
from tests.servers import ROOT, Server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = Server(
        tmp_path_factory.mktemp("static"), web_only=True, LOCALAI_ENGINES="http://127.0.0.1:9"
    )
    yield made
    made.stop()


@pytest.fixture(scope="module")
def page(server):
    return httpx.get(f"{server.url}/login").text


def hashed(page, name):
    stem, _dot, ending = name.rpartition(".")
    return re.search(rf"/static/{stem}\.[0-9a-f]{{12}}\.{ending}", page)[0]


def test_names_hold_the_content_and_may_be_kept_for_ever(server, page):
    answer = httpx.get(server.url + hashed(page, "components.css"))

    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-encoding"] == "gzip"
    assert "accept-encoding" in answer.headers["vary"].lower()


def test_conditional_requests_are_answered_with_304(server, page):
    url = server.url + hashed(page, "tokens.css")
    etag = httpx.get(url).headers["etag"]

    answer = httpx.get(url, headers={"if-none-match": etag})

    assert (answer.status_code, answer.content) == (304, b"")


def test_modules_import_each_other_by_hashed_names(server, page):
    seen, todo = set(), [server.url + hashed(page, "js/gate.js")]
    while todo:
        url = todo.pop()
        if url in seen:
            continue
        seen.add(url)
        answer = httpx.get(url)
        assert answer.status_code == 200, url
        assert "javascript" in answer.headers["content-type"]
        imported = re.findall(r'(?:from|import)\s*"(\./[^"]+)"', answer.text)
        assert all(re.search(r"\.[0-9a-f]{12}\.js$", each) for each in imported)
        todo += [urljoin(url, each) for each in imported]
    assert len(seen) > 4


def test_the_style_sheets_name_the_hashed_font(server, page):
    css = httpx.get(server.url + hashed(page, "base.css")).text
    font = re.search(r'url\("(vendor/inter[^"]+)"\)', css)[1]

    assert httpx.get(f"{server.url}/static/{font}").status_code == 200


def test_a_changed_source_is_another_collection(tmp_path):
    (tmp_path / "static").mkdir()
    file = tmp_path / "static" / "a.css"
    file.write_text("a {}")
    before = collection_folder(tmp_path)
    assert collection_folder(tmp_path) == before
    file.write_text("a { color: red }")
    assert collection_folder(tmp_path) != before


def test_no_template_holds_script_style_or_handlers():
    """The CSP has no `unsafe-inline`, and htmx may not evaluate: what it would refuse is not written."""
    for path in (ROOT / "templates").rglob("*.html"):
        if path.is_relative_to(ROOT / "templates" / "mail"):
            continue
        text = path.read_text()
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), path
        assert not re.search(
            r"<style\b|\sstyle=|\son[a-z]+=|hx-on|=[\"']\s*(js|javascript):", text
        ), path
        assert not re.search(r"\|\s*safe\b", text), path


def test_no_script_of_ours_evaluates_or_names_another_host():
    for path in (ROOT / "static" / "js").rglob("*.js"):
        text = path.read_text()
        assert not re.search(r"\beval\(|new Function|setAttribute\(.style", text), path
        assert not re.search(r"https?://", text), path


def loops_that_take_a_tag(text):
    """`{% empty icon=… %}`, our tag, straight inside a loop would be the loop's own `{% empty %}`."""
    open_loops, found = [], []
    for tag in re.findall(r"{%\s*(for |endfor|empty\b[^%]*)", text):
        if tag.startswith("for "):
            open_loops.append(False)
        elif tag == "endfor":
            open_loops.pop()
        elif tag.split()[1:] and open_loops and not open_loops[-1]:
            found.append(tag)
        elif open_loops:
            open_loops[-1] = True
    return found


def test_our_tag_is_never_taken_for_a_loops_own():
    assert loops_that_take_a_tag('{% for a in b %}x{% empty icon="i" %}{% endfor %}')
    assert not loops_that_take_a_tag('{% for a in b %}x{% empty %}{% empty icon="i" %}{% endfor %}')
    for path in (ROOT / "templates").rglob("*.html"):
        assert loops_that_take_a_tag(path.read_text()) == [], path
