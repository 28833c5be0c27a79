"""The product as a bench measures it: one web worker with a key, everything on, and its background process."""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import httpx

from bench.processes import CHAT, LOAD, ROOT, Process, free_port, gunicorn, wait_for

ADMIN = {"email": "b@example.org", "password": "correct horse lamp"}
SETTLED_S = 90.0


class Product:
    """`url` and `key` of a running product in front of `engines` (a LOCALAI_ENGINES value).

    `more` are further environment variables.
    """

    def __init__(
        self,
        engines: str,
        *,
        core: int | None,
        model: str = "m",
        workers: int = 1,
        worker: str = "inference.web_worker.Worker",
        **more: str,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gatehouse-bench-"))
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.environment = {
            "LOCALAI_ADDRESS": f"127.0.0.1:{port}",
            "LOCALAI_AUTH": "true",
            "LOCALAI_DATA_PATH": str(self.folder),
            "LOCALAI_WEB_WORKERS": str(workers),
            "LOCALAI_ENGINES": engines,
            "LOCALAI_MODELS": "",
            "LOCALAI_AUTH_RATE_LIMIT": "0",
            "DJANGO_SETTINGS_MODULE": "localai_project.settings",
            **more,
        }
        migrate = Process(
            [sys.executable, "manage.py", "migrate", "-v0"], core=None, **self.environment
        )
        migrate._process.wait(120)  # noqa: SLF001
        self.background = Process(
            [sys.executable, "manage.py", "runbackground"],
            core=LOAD if core is not None else None,  # beside the load, as docs/performance.md says
            **self.environment,
        )
        self.web = gunicorn(
            "localai_project.asgi:application",
            core,
            port,
            workers=workers,
            worker=worker,
            **self.environment,
        )
        wait_for(f"{self.url}/healthz")
        with self._browser() as browser:
            browser.post("/api/auth/register", json=ADMIN).raise_for_status()
        self.key = self.make_key("bench")["key"]
        wait_until_served(self.url, self.key, model)

    def _browser(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30)

    def make_key(self, name: str) -> dict[str, str]:
        """An API key of the admin's: its `key` and its `id`."""
        with self._browser() as browser:
            browser.post("/api/auth/login", json=ADMIN).raise_for_status()
            found: dict[str, str] = browser.post("/api/auth/api-keys", json={"name": name}).json()
            return found

    def books(self, key: dict[str, str], requests: int, errors: int = 0) -> dict[str, Any]:
        """The sums of one key, once as many requests and errors are there, or SETTLED_S later."""
        deadline = time.monotonic() + SETTLED_S
        with self._browser() as browser:
            browser.post("/api/auth/login", json=ADMIN).raise_for_status()
            while True:
                query = f"period=day&api_key_id={key['id']}"
                report = browser.get(f"/api/auth/admin/usage?{query}").raise_for_status().json()
                found: dict[str, Any] = report["totals"]
                is_whole = found["request_count"] >= requests and found["error_count"] >= errors
                if is_whole or time.monotonic() > deadline:
                    return found
                time.sleep(0.5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.web.stop()
        self.background.stop()


def wait_until_served(url: str, key: str, model: str) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    for _ in range(200):
        answer = httpx.post(
            url + CHAT,
            json=body,
            headers={"Authorization": f"Bearer {key}"},
            timeout=60,
        )
        if answer.status_code == 200:
            return
        time.sleep(0.1)
    raise RuntimeError(f"{answer.status_code}: {answer.text}")


__all__ = ["ROOT", "Product"]
