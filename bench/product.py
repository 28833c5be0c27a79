"""The product as a bench measures it: one web worker with a key, everything on, and its background process."""

import sys
import tempfile
from pathlib import Path

import httpx

from bench.processes import LOAD, ROOT, Process, free_port, gunicorn, wait_for


class Product:
    """`url` and `key` of a running product in front of `engines` (a LOCALAI_ENGINES value).

    `more` are further environment variables.
    """

    def __init__(self, engines: str, *, core: int | None, model: str = "m", **more: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gatehouse-bench-"))
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.environment = {
            "LOCALAI_ADDRESS": f"127.0.0.1:{port}",
            "LOCALAI_AUTH": "true",
            "LOCALAI_DATA_PATH": str(self.folder),
            "LOCALAI_WEB_WORKERS": "1",
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
        self.web = gunicorn("localai_project.asgi:application", core, port, **self.environment)
        wait_for(f"{self.url}/healthz")
        self.key = self._make_key()
        wait_until_served(self.url, self.key, model)

    def _make_key(self) -> str:
        with httpx.Client(base_url=self.url) as browser:
            browser.post(
                "/api/auth/register",
                json={"email": "b@example.org", "password": "correct horse lamp"},
            )
            return str(browser.post("/api/auth/api-keys", json={"name": "bench"}).json()["key"])

    def stop(self) -> None:
        self.web.stop()
        self.background.stop()


def wait_until_served(url: str, key: str, model: str) -> None:
    import time

    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    for _ in range(200):
        answer = httpx.post(
            f"{url}/v1/chat/completions",
            json=body,
            headers={"Authorization": f"Bearer {key}"},
            timeout=60,
        )
        if answer.status_code == 200:
            return
        time.sleep(0.1)
    raise RuntimeError(f"{answer.status_code}: {answer.text}")


__all__ = ["ROOT", "Product"]
