"""Strict pages, accessibility, pictures and budgets: what browser tests share."""

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
THEMES = ("light", "dark")
WIDTHS = (1280, 390)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
COLOUR_RULES = ["color-contrast", "link-in-text-block"]
EXPECTED = ["status of 422"]  # a form with its errors, said by the browser itself
_WATCH = """document.addEventListener("securitypolicyviolation", (e) =>
  console.error(`CSP: ${e.violatedDirective} ${e.blockedURI} ${e.sample}`));"""


def open_strict(browser: Any, url: str, **context: Any) -> Any:
    """A page that notes in `problems` what no page of ours may do, as every further tab of its context."""
    size = {"width": 1280, "height": 900}
    # without motion, so that no colour is measured half-way to another
    wanted = {"viewport": size, "locale": "en-GB", "reduced_motion": "reduce", **context}
    made = browser.new_context(base_url=url, **wanted)
    made.grant_permissions(["clipboard-read", "clipboard-write"], origin=url)
    made.tabs = []
    made.add_init_script(_WATCH)
    made.on("page", lambda page: _watch(page, url))
    return made.new_page()


def _watch(page: Any, url: str) -> None:
    page.context.tabs.append(page)
    page.problems, page.expected, page.ours = [], list(EXPECTED), url
    page.on("console", lambda message: _note_console(page, message))
    page.on("pageerror", lambda error: page.problems.append(f"page error: {error}"))
    page.on("request", lambda request: _note_request(page, request))


def problems_of(context: Any) -> list[str]:
    """What the tabs of a browser's context did, but for what their tests expect."""
    return [
        problem
        for page in context.tabs
        for problem in page.problems
        if not any(known in problem for known in page.expected)
    ]


def _is_ours(page: Any, url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in {"data", "blob", "about"} or parts.netloc == urlsplit(page.ours).netloc


def _note_console(page: Any, message: Any) -> None:
    """Errors of our own pages; what a provider's page complains of is not ours."""
    source = message.location.get("url") or page.ours
    if message.type == "error" and _is_ours(page, source):
        page.problems.append(f"{message.text} ({source})")


def _note_request(page: Any, request: Any) -> None:
    """What a page loads comes from its own server; a link may lead to another (a provider's sign-in)."""
    if not (
        _is_ours(page, request.url)
        or request.is_navigation_request()
        or not _is_ours(page, page.url)
    ):
        page.problems.append(f"request to another host: {request.url}")


def assert_accessible(page: Any, *, within: str = "", skip: tuple[str, ...] = ()) -> None:
    """axe finds nothing on the page as it is now, in both themes.

    The themes differ in colours alone, so what is not about colours is asked of the first only.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text() + "; undefined")
    for theme in THEMES:
        set_theme(page, theme)
        if theme == THEMES[0]:
            options = {
                "runOnly": {"type": "tag", "values": RULES},
                "rules": {rule: {"enabled": False} for rule in skip},
            }
        else:
            colours = [rule for rule in COLOUR_RULES if rule not in skip]
            options = {"runOnly": {"type": "rule", "values": colours}}
        options["resultTypes"] = ["violations"]
        found = page.evaluate(
            "([within, options]) => axe.run(within || document, options)", [within, options]
        )
        faults = [
            f"{theme} {page.url}: {each['id']}: {each['help']}: {node['html'][:200]}"
            for each in found["violations"]
            for node in each["nodes"]
        ]
        assert not faults, "\n".join(faults)


def set_theme(page: Any, theme: str) -> None:
    page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)


def shoot(page: Any, name: str, *, full: bool = True) -> None:
    """Pictures in both themes and widths into `GATEHOUSE_PICTURES`; nothing where that is not set."""
    folder = os.environ.get("GATEHOUSE_PICTURES")
    if not folder:
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    before = page.viewport_size
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        for theme in THEMES:
            set_theme(page, theme)
            page.wait_for_timeout(150)
            page.screenshot(path=f"{folder}/{name}-{width}-{theme}.png", full_page=full)
    page.set_viewport_size(before)


def weight(page: Any, path: str) -> dict[str, int]:
    """Compressed bytes of script and style that a page loads: `{"script": …, "stylesheet": …}`."""
    with weighed(page) as seen:
        page.goto(path, wait_until="networkidle")
    return seen


@contextmanager
def weighed(page: Any) -> Iterator[dict[str, int]]:
    """The same of whatever is loaded meanwhile; the figures are there afterwards."""
    seen: dict[str, int] = {"script": 0, "stylesheet": 0}
    answers: list[Any] = []

    def note(answer: Any) -> None:
        if answer.request.resource_type in seen:
            answers.append(answer)

    page.on("response", note)
    yield seen
    page.remove_listener("response", note)
    for answer in answers:
        seen[answer.request.resource_type] += len(gzip.compress(answer.body(), 9))
