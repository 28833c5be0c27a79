"""Family 9: marked secrets go in everywhere; then every log, file, table, answer and process title is searched."""

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.servers import Server
from tests.stub import StubEngine

MARK = "canary7f3a"
LEGACY = f"legacy-{MARK}-key-of-an-operator"
ENGINE_KEY = f"engine-{MARK}-key"


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    engine = StubEngine()
    made = Server(
        tmp_path_factory.mktemp("canary"),
        web_only=True,
        LOCALAI_ENGINES=f"m={engine.url}",
        LOCALAI_ENGINES_KEY=ENGINE_KEY,
        LOCALAI_API_KEY=LEGACY,
        LOCALAI_LOG_LEVEL="debug",
        LOCALAI_REGISTRATION_MODE="open",
    )
    yield made
    made.stop()
    engine.stop()


class Secrets:
    """What was used and may be nowhere but where it was shown once."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def note(self, name: str, value: str) -> str:
        self.found[name] = value
        return value


def ask_for_answers(server: Server, secrets: Secrets, key: str) -> None:
    """Inference, as callers send keys: in headers, in bodies, as a model's name, for a tool."""
    of_a_tool = secrets.note("key of a tool", f"{MARK}-key-of-a-tool")
    for headers in (
        {"Authorization": f"Bearer {key}"},
        {"x-api-key": key},
        {"Authorization": LEGACY},
    ):
        for path, sent in (
            (
                "/v1/chat/completions",
                {"model": "m", "messages": [{"role": "user", "content": "x"}]},
            ),
            ("/v1/chat/completions", {"model": "m", "messages": [], "user": headers.copy()}),
            ("/v1/chat/completions", {"model": "nope", "messages": []}),
            ("/v1/chat/completions", {"model": next(iter(headers.values())), "messages": []}),
            (f"/v1/engines/{key}/chat/completions", {"messages": []}),
            (
                "/v1/responses",
                {"model": "m", "input": "x", "tools": [{"headers": {"X-Api-Key": of_a_tool}}]},
            ),
            ("/v1/embeddings", {"model": "m", "input": 5}),
            ("/api/auth/admin/users/x/role", {}),
        ):
            httpx.post(server.url + path, json=sent, headers=headers, timeout=20)


def drive(server: Server) -> Secrets:
    """Use everything that takes or gives a secret, rightly and wrongly."""
    secrets = Secrets()
    secrets.note("legacy key", LEGACY)
    secrets.note("engine key", ENGINE_KEY)
    secrets.note("admin's key", server.key)
    password = secrets.note("password", f"a long phrase {MARK} of mine")
    with server.client() as admin, httpx.Client(base_url=server.url, timeout=20) as bob:
        admin.post("/api/settings", json={"tracing_bodies": True})
        code = secrets.note("invite", admin.post("/api/auth/admin/invites").json()["code"])
        admin.get(f"/api/auth/invite/{code}/check")
        bob.get(f"/invite/{code}")
        body = {"email": "c@example.org", "password": password, "inviteCode": code}
        user = bob.post("/api/auth/register", json=body).json()["user"]
        secrets.note("session", bob.cookies["session"])
        key = secrets.note("key", bob.post("/api/auth/api-keys", json={"name": "k"}).json()["key"])
        wrong = secrets.note("wrong password", f"wrong phrase {MARK} typed")
        bob.post("/api/auth/login", json={"email": "c@example.org", "password": wrong})
        bob.post(
            "/api/auth/login",
            json={"email": secrets.note("typo", f"{MARK}-in-the-wrong-field"), "password": "x"},
        )
        bob.post(
            "/api/auth/token-login",
            json={"token": secrets.note("bad token", f"lai-{MARK}{'0' * 50}")},
        )
        new = secrets.note("new password", f"another phrase {MARK} for it")
        bob.put("/api/auth/password", json={"current_password": password, "new_password": new})
        bob.post("/api/auth/password/forgot", json={"email": "c@example.org"})
        given = secrets.note("reset password", f"third phrase {MARK} given")
        admin.put(f"/api/auth/admin/users/{user['id']}/password", json={"password": given})
        ask_for_answers(server, secrets, key)
        httpx.get(f"{server.url}/api/auth/github/login?invite_code={code}&setup_token={MARK}-token")
        httpx.get(f"{server.url}/reset/{secrets.note('reset link', f'{MARK}-reset.abc')}")
        httpx.get(f"{server.url}/v1/models?api_key={key}&token={LEGACY}")
        httpx.get(f"{server.url}/nowhere/{key}", headers={"Accept": "text/html"})
        at_run_time = secrets.note("run-time key", f"run-time-{MARK}-key-of-a-script")
        token = secrets.note("p2p token", f"p2p-{MARK}-token")
        admin.post("/api/settings", json={"api_keys": [at_run_time], "p2p_token": token})
        admin.post("/api/settings", json={"api_keys": [at_run_time], "threads": at_run_time})
        httpx.get(f"{server.url}/v1/models", headers={"x-api-key": at_run_time})
    time.sleep(3)  # letters, journal and log settle
    for letter in (server.folder / "data" / "mail").glob("*.eml"):
        link = letter.read_text().partition("/reset/")[2].split()[0]
        if "=" not in link:
            secrets.note("mailed link", link)
    return secrets


@pytest.fixture(scope="module")
def driven(server: Server) -> Secrets:
    return drive(server)


def files(server: Server) -> list[Path]:
    """Everything written, but for what keeps secrets on purpose: the mail folder and the secrets."""
    kept = {"mail", "secrets", "setup-token"}
    return [
        path
        for path in server.folder.rglob("*")
        if path.is_file() and not kept & set(path.relative_to(server.folder).parts)
    ]


def test_no_log_journal_or_state_file_holds_one(server, driven):
    for path in files(server):
        content = path.read_bytes()
        for name, value in driven.found.items():
            assert value.encode() not in content, f"{name} in {path.relative_to(server.folder)}"


def test_the_log_was_written_and_holds_no_traceback(server, driven):
    log = server.log.read_text()

    assert "a letter is in" in log
    assert "Traceback" not in log


def test_no_table_holds_one(server, driven):
    with sqlite3.connect(f"file:{server.folder}/data/database.db?mode=ro", uri=True) as database:
        dump = "\n".join(database.iterdump())

    for name, value in driven.found.items():
        assert value not in dump, name
    assert "c@example.org" in dump


def test_no_answer_gives_one_back(server, driven):
    with server.client() as admin:
        for path in (
            "/api/auth/me",
            "/api/auth/admin/users",
            "/api/auth/admin/audit?limit=1000",
            "/api/auth/admin/invites",
            "/api/auth/api-keys",
            "/api/auth/admin/usage",
            "/api/auth/sessions",
            "/api/settings",
            "/api/traces?limit=0&full=true",
            "/api/backend-traces?limit=0&full=true",
        ):
            text = admin.get(path).text
            assert len(text) > 20
            for name, value in driven.found.items():
                assert value not in text, f"{name} in {path}"


def test_no_process_title_holds_one(server, driven):
    parent = psutil.Process(server.process.pid)
    titles = [" ".join(p.cmdline()) for p in (parent, *parent.children(recursive=True))]

    assert len(titles) > 2
    for name, value in driven.found.items():
        assert not any(value in title for title in titles), name


def test_files_are_the_servers_alone(server, driven):
    for path in (server.folder / "data").rglob("*"):
        if path.is_file():
            assert path.stat().st_mode & 0o077 == 0, path
