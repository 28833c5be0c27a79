"""Chromium, and the people in front of it."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


def _note(page: Any, message: Any, ours: str) -> None:
    """Errors of our own pages; what a provider's page complains of is not ours."""
    if message.type == "error" and message.location.get("url", ours).startswith(ours):
        page.problems.append(message.text)


@pytest.fixture
def open_page() -> Iterator[Callable[[Any], Any]]:
    """Open a page at a server as somebody of their own; `problems` is what the console said."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])

        def opened(server: Any) -> Any:
            size = {"width": 1280, "height": 900}
            context = browser.new_context(base_url=server.url, viewport=size)
            context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.url)
            page = context.new_page()
            page.problems = []
            page.on("console", lambda m: _note(page, m, server.url))
            page.on("pageerror", lambda e: page.problems.append(str(e)))
            return page

        yield opened
        browser.close()
