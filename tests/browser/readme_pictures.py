"""The README's pictures, made anew: `make pictures`. A real server, its real small model, and people who never were."""

import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page, sync_playwright

from tests.browser.conftest import ADMIN, CHROMIUM, sign_in
from tests.browser.pages import open_strict
from tests.servers import CHAT, PASSWORD, ROOT, Server

FOLDER = ROOT / "docs" / "pictures"
SIZE = {"width": 1280, "height": 800}
QUESTION = "Write three short tips for writing a good commit message."
PEOPLE = {
    "amara": "Amara Okafor",
    "jonas": "Jonas Weiß",
    "lucia": "Lucía Prieto",
    "tomas": "Tomás Herrera",
    "yuki": "Yuki Tanaka",
}
WAITING = "yuki"
ASKED = 40


def prepare(server: Server) -> None:
    """People, one of whom still waits, and a little usage by key."""
    with server.client() as admin:
        for mailbox, name in PEOPLE.items():
            email = f"{mailbox}@northlight.example"
            body = {"email": email, "password": PASSWORD, "name": name}
            httpx.post(f"{server.url}/api/auth/register", json=body).raise_for_status()
        for user in admin.get("/api/auth/admin/users").json()["users"]:
            if user["name"] != PEOPLE[WAITING]:
                path = f"/api/auth/admin/users/{user['id']}/status"
                admin.put(path, json={"status": "active"})
        for n in range(ASKED):
            text = "Say hello to the team. " * (1 + n % 7)
            body = {"model": CHAT, "messages": [{"role": "user", "content": text}]}
            admin.post("/v1/chat/completions", json={**body, "max_tokens": 20 + n % 5 * 10})


def shoot(page: Page, name: str, address: str) -> None:
    page.goto(address, wait_until="networkidle")
    save(page, name)


def save(page: Page, name: str) -> None:
    page.screenshot(path=FOLDER / f"{name}.png")


def chat(page: Page) -> None:
    page.goto("/app/chat", wait_until="networkidle")
    page.get_by_label("Message", exact=True).fill(QUESTION)
    page.get_by_role("button", name="Send").click()
    page.get_by_role("article", name=CHAT).get_by_text("first token after").wait_for(timeout=60_000)
    save(page, "chat")


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = Server(Path(folder), LOCALAI_MODELS=CHAT)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            server.wait_for_engines()
            prepare(server)
            page: Any = open_strict(browser, server.url, viewport=SIZE)
            sign_in(page, ADMIN)
            chat(page)
            shoot(page, "home", "/app")
            shoot(page, "usage", "/app/usage?period=day")
            shoot(page, "models", "/app/models")
            shoot(page, "users", "/app/users")
            if page.problems:
                sys.exit("\n".join(page.problems))
        finally:
            browser.close()
            server.stop()


if __name__ == "__main__":
    main()
