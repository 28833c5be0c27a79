"""Chromium, the people in front of it, and what no page of ours may ever do. See docs/ui.md, "Tests"."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.browser.bad_line import BadLine
from tests.browser.chat_page import ChatPage
from tests.browser.pages import open_strict, problems_of
from tests.servers import CHAT, PASSWORD, Server
from tests.stub import StubEngine

# The shell first: a whole Chromium draws its own window in two more processes for every page that is opened.
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, PROGRAMS)), None)
ADMIN, USER = "admin@example.org", "bob@example.org"


def pytest_collection_modifyitems(items: list[Any]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.real)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium for a file of tests. (Playwright's loop may not outlive them: see pytest-asyncio.)"""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """`open_page(server)`: a page of somebody of their own. `open_page(server, email=…)` signs in.

    The test fails at its end for any console error, page error, CSP report or request to another
    host. `page.expected.append("status of 403")` allows what a test provokes.
    """
    pages: list[Any] = []

    def opened(server: Any, *, email: str = "", **context: Any) -> Any:
        page = open_strict(browser, server.url, **context)
        pages.append(page)
        if email:
            sign_in(page, email)
        return page

    yield opened
    found = [problem for page in pages for problem in problems_of(page.context)]
    for page in pages:
        page.context.close()
    assert found == []


def sign_in(page: Any, email: str, password: str = PASSWORD) -> None:
    """Sign this browser in without the form."""
    body = {"email": email, "password": password}
    answer = page.context.request.post("/api/auth/login", data=body)
    assert answer.status == 200, answer.text()


def add_people(server: Server) -> None:
    """Beside the admin: bob, an ordinary user, approved."""
    with server.client() as admin:
        body = {"email": USER, "password": PASSWORD, "name": "Bob"}
        assert httpx.post(f"{server.url}/api/auth/register", json=body).status_code < 300
        listed = admin.get("/api/auth/admin/users").json()["users"]
        (bob,) = [each for each in listed if each["email"] == USER]
        path = f"/api/auth/admin/users/{bob['id']}/status"
        assert admin.put(path, json={"status": "active"}).status_code == 200


@pytest.fixture(scope="package")
def ui_server(tmp_path_factory: Any) -> Iterator[Server]:
    """A real server whose one model, `m`, is the stub engine at the end of a line; with an admin and bob."""
    engine = StubEngine()
    line = BadLine(engine.port)
    engines = f"m=http://127.0.0.1:{line.own_port}"
    server = Server(tmp_path_factory.mktemp("ui"), web_only=True, LOCALAI_ENGINES=engines)
    try:
        add_people(server)
        server.engine, server.engine_line = engine, line  # type: ignore[attr-defined]
        yield server
    finally:
        server.stop()
        line.stop()
        engine.stop()


@pytest.fixture(scope="package")
def real_server(tmp_path_factory: Any) -> Iterator[Server]:
    """A real server with the real small chat model, started once for all files here."""
    server = Server(tmp_path_factory.mktemp("real"), LOCALAI_MODELS=CHAT)
    try:
        add_people(server)
        server.wait_for_engines()
        yield server
    finally:
        server.stop()


@pytest.fixture
def admin_page(ui_server: Server, open_page: Callable[..., Any]) -> Any:
    return open_page(ui_server, email=ADMIN)


@pytest.fixture
def user_page(ui_server: Server, open_page: Callable[..., Any]) -> Any:
    return open_page(ui_server, email=USER)


@pytest.fixture
def anonymous_page(ui_server: Server, open_page: Callable[..., Any]) -> Any:
    return open_page(ui_server)


@pytest.fixture
def chat(user_page: Any) -> ChatPage:
    """Bob at a new chat."""
    return ChatPage(user_page).open()
