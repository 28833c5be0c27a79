"""Real servers: `manage.py serve` as a process of its own, with gunicorn, on loopback."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from tests.postgresql import free_port

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gatehouse"
CHAT, EMBEDDINGS = "smollm2-135m-instruct", "all-minilm-l6-v2"
PASSWORD = "correct horse lamp"


@cache
def migrated_database() -> Path:
    """An empty SQLite database with all tables, made once for all processes that run tests.

    Each start of a server would else spend a fifth of its time on making one.
    """
    state = hashlib.sha256()
    for each in sorted(ROOT.glob("*/migrations/*.py")):
        state.update(each.read_bytes())
    kept = Path(tempfile.gettempdir()) / f"gatehouse-migrated-{state.hexdigest()[:16]}.db"
    if not kept.exists():
        with tempfile.TemporaryDirectory(prefix="gatehouse-migrate-") as folder:
            made = {"LOCALAI_DATA_PATH": folder, "LOCALAI_AUTH": "true"}
            environment = {**without_settings(), **made}
            command = [sys.executable, str(ROOT / "manage.py"), "migrate", "-v0"]
            subprocess.run(command, env=environment, cwd=ROOT, check=True)
            shutil.copy(Path(folder) / "database.db", f"{kept}.{os.getpid()}")
        Path(f"{kept}.{os.getpid()}").rename(kept)
    return kept


def without_settings() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("LOCALAI_", "DJANGO_"))}


class Server:
    """A running server. `key` is an API key of its admin; `log` what it printed."""

    def __init__(
        self,
        folder: Path,
        *,
        web_only: bool = False,
        accounts: bool = True,
        port: int = 0,
        make_admin: bool = True,
        **settings: str,
    ) -> None:
        self.folder = folder
        self.web_only = web_only
        self.port = port or free_port()
        self.url = f"http://localhost:{self.port}"
        self.log = folder / "serve.log"
        self._settings = {
            "LOCALAI_ADDRESS": f"127.0.0.1:{self.port}",
            "LOCALAI_AUTH": "true" if accounts else "false",
            "LOCALAI_AUTH_RATE_LIMIT": "0",
            "LOCALAI_WEB_WORKERS": "2",
            "LOCALAI_DATA_PATH": str(folder / "data"),
            "LOCALAI_BACKENDS_PATH": str(CACHE / "backends"),
            "LOCALAI_MODELS_PATH": str(CACHE / "models"),
            "LOCALAI_MODELS": "",
            **settings,
        }
        self.key = ""
        if accounts and "LOCALAI_AUTH_DATABASE_URL" not in settings:
            (folder / "data").mkdir(exist_ok=True)
            shutil.copy(migrated_database(), folder / "data" / "database.db")
        self.start()
        if accounts and make_admin:
            self.key = self.make_admin()

    def environment(self) -> dict[str, str]:
        return {**without_settings(), **self._settings}

    def start(self) -> None:
        command = [sys.executable, str(ROOT / "manage.py"), "serve"]
        if self.web_only:
            command.append("--web-only")
        with self.log.open("a") as out:
            self.process = subprocess.Popen(
                command, env=self.environment(), stdout=out, stderr=subprocess.STDOUT, cwd=ROOT
            )
        self.until(self.answers, 60)

    def answers(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"the server ended: {self.log.read_text()}")
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def until(self, check: Callable[[], Any], timeout_s: float) -> Any:
        deadline = time.monotonic() + timeout_s
        while not (found := check()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{check} after {timeout_s} s; {self.log.read_text()[-3000:]}")
            time.sleep(0.1)
        return found

    def make_admin(self) -> str:
        with httpx.Client(base_url=self.url) as browser:
            body = {"email": "admin@example.org", "password": PASSWORD}
            assert browser.post("/api/auth/register", json=body).status_code == 201
            return str(browser.post("/api/auth/api-keys", json={"name": "tests"}).json()["key"])

    def client(self, **more: Any) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, **more)

    @contextmanager
    def admin_browser(self) -> Iterator[httpx.Client]:
        """A browser in which the admin is signed in."""
        with httpx.Client(base_url=self.url, timeout=20) as browser:
            body = {"email": "admin@example.org", "password": PASSWORD}
            assert browser.post("/api/auth/login", json=body).status_code == 200
            yield browser

    def usage(self) -> dict[str, int]:
        with self.client() as client:
            return dict(client.get("/api/auth/admin/usage?period=day").json()["totals"])

    def pending(self) -> list[dict[str, Any]]:
        return list(httpx.get(f"{self.url}/readyz").json()["pending"])

    def wait_for_engines(self, timeout_s: float = 900) -> None:
        def ready() -> bool:
            pending = self.pending()
            failed = [step for step in pending if step["state"] == "failed"]
            if failed:
                raise RuntimeError(f"{failed}; {self.log.read_text()[-3000:]}")
            return not pending

        self.until(ready, timeout_s)

    def processes(self, words: str) -> list[int]:
        """The pids below this server whose command line holds `words`."""
        import psutil

        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if words in " ".join(process.cmdline()):
                    found.append(process.pid)
        return found

    def web_workers(self) -> list[int]:
        """The pids of the gunicorn workers: children of the arbiter."""
        import psutil

        (arbiter,) = [
            each
            for each in psutil.Process(self.process.pid).children()
            if "gunicorn" in " ".join(each.cmdline())
        ]
        return [child.pid for child in arbiter.children()]

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()  # the test fails, and what it started ends with it
            self.process.wait()
            raise
