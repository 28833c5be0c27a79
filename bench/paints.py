"""`python -m bench.paints`: when the largest paint of each page comes, with the processor slowed down four times.

    python -m bench.paints                      every page, as an ordinary person and as an admin
    python -m bench.paints --urls /app /app/users

A real server with one engine that idles (the stub), Debian's Chromium on the same machine, its cache
empty at each load, its processor slowed by DevTools. Milliseconds from the navigation to the largest
contentful paint (web.dev/lcp), median and worst of the loads. Prints Markdown.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.browser.conftest import ADMIN, CHROMIUM, USER, add_people, sign_in
from tests.browser.pages import open_strict
from tests.servers import Server
from tests.stub import StubEngine

LOADS, SLOWER, LIMIT_MS = 9, 4, 1000
PAGES = ("/app", "/app/chat", "/app/api", "/app/account", "/app/usage")
ADMINS_PAGES = (
    *("/app/users", "/app/users/invites", "/app/users/audit", "/app/models", "/app/backends"),
    *("/app/system", "/app/traces", "/app/logs", "/app/settings"),
)
LARGEST = """() => new Promise((done) => {
  let last = 0;
  new PerformanceObserver((list) => { for (const each of list.getEntries()) last = each.startTime; })
    .observe({ type: "largest-contentful-paint", buffered: true });
  setTimeout(() => done(last), 700);
})"""


def largest_paint(page: Any, url: str) -> float | None:
    """Milliseconds until it, cold; None where the page is not there for this person."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("Network.clearBrowserCache")
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    answer = page.goto(
        url, wait_until="load"
    )  # an admin's page is never idle: it asks for operations
    found = page.evaluate(LARGEST)
    devtools.detach()
    return float(found) if answer.status == 200 and page.url.endswith(url) else None


def rows(page: Any, urls: list[str]) -> Iterator[str]:
    for url in urls:
        taken = [largest_paint(page, url) for _ in range(LOADS + 1)][1:]
        known = [each for each in taken if each is not None]
        if not known:
            continue
        p50, most = statistics.median(known), max(known)
        met = "met" if p50 < LIMIT_MS else "**not met**"
        yield f"| `{url}` | {p50:.0f} | {most:.0f} | {met} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--urls", nargs="+", default=[*PAGES, *ADMINS_PAGES])
    urls = parser.parse_args().urls
    engine = StubEngine()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = Server(Path(folder), web_only=True, LOCALAI_ENGINES=f"m={engine.url}")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            add_people(server)
            for who, email in (("nobody yet", ""), ("a person", USER), ("an admin", ADMIN)):
                page = open_strict(browser, server.url)
                if email:
                    sign_in(page, email)
                print(f"\n{who}, {LOADS} cold loads each, processor {SLOWER} times slower:\n")
                print("| page | median ms | worst ms | under 1 s |\n|---|---|---|---|")
                for row in rows(page, urls if email else ["/login", "/register"]):
                    print(row, flush=True)
                page.context.close()
        finally:
            browser.close()
            server.stop()
            engine.stop()


if __name__ == "__main__":
    main()
