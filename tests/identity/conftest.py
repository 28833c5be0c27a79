"""Providers and a server of ours that offers them; one of each for all tests of this folder."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Timer
from typing import Any

import httpx
import pytest
from bs4 import BeautifulSoup

from tests.identity.github import CLIENT, SECRET, GitHub
from tests.identity.person import Person
from tests.postgresql import free_port
from tests.servers import CACHE, PASSWORD, Server

HERE = Path(__file__).parent
AUDIENCE = "urn:gatehouse:api"
START_S = 60
_number = iter(range(1000, 10_000))


def installed() -> Path:
    """npm's oidc-provider in the cache of the tests, installed from the lock file where it is missing."""
    folder = CACHE / "identity-provider"
    lock = (HERE / "package-lock.json").read_text()
    if not (folder / "done").is_file() or (folder / "package-lock.json").read_text() != lock:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder / name)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
        (folder / "done").touch()
    shutil.copy(HERE / "idp.mjs", folder / "idp.mjs")
    return folder


class Idp:
    """The OpenID Connect provider as a process of its own."""

    def __init__(self, port: int, callback: str) -> None:
        self.port, self.callback = port, callback
        self.url = f"http://127.0.0.1:{port}"
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        environment = {**os.environ, "IDP_PORT": str(self.port), "IDP_CALLBACK": self.callback}
        self.process = subprocess.Popen(
            ["node", "idp.mjs"],
            cwd=installed(),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        limit = Timer(START_S, self.process.kill)
        limit.start()
        is_ready = any(line.startswith("ready") for line in self.process.stdout)
        limit.cancel()
        if not is_ready:
            self.stop()
            raise RuntimeError("the identity provider did not start")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None

    def tell(self, what: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = httpx.post(f"{self.url}/__test/{what}", content=json.dumps(body))
        return dict(answer.json())

    def mode(self, **how: Any) -> None:
        self.tell("mode", how)

    def person(self, login: str, **claims: Any) -> None:
        self.tell("person", {"login": login, "claims": claims})

    def token(self, claims: dict[str, Any], **how: str) -> str:
        return str(self.tell("jwt", {"claims": claims, **how})["token"])


@pytest.fixture(autouse=True)
def _close_browsers() -> Iterator[None]:
    yield
    while Person.opened:
        Person.opened.pop().http.close()


@pytest.fixture(scope="package")
def github() -> Iterator[GitHub]:
    made = GitHub()
    yield made
    made.stop()


class Ground:
    """Makes servers that know both providers, and remembers the provider that belongs to each."""

    def __init__(self, folder: Path, github: GitHub) -> None:
        self.folder, self.github = folder, github
        self.made: list[tuple[Server, Idp]] = []

    def server(
        self, *, idp_up: bool = True, make_admin: bool = True, listen: str = "", **settings: str
    ) -> tuple[Server, Idp]:
        port, ours = free_port(), free_port()
        if listen:
            settings["LOCALAI_ADDRESS"] = f":{ours}"
        idp = Idp(port, f"http://localhost:{ours}/api/auth/oidc/callback")
        if idp_up:
            idp.start()
        folder = self.folder / str(len(self.made))
        folder.mkdir()
        server = Server(
            folder,
            port=ours,
            web_only=True,
            make_admin=make_admin,
            LOCALAI_ENGINES="http://127.0.0.1:9",
            GITHUB_CLIENT_ID=CLIENT,
            GITHUB_CLIENT_SECRET=SECRET,
            LOCALAI_GITHUB_URL=self.github.url,
            LOCALAI_OIDC_ISSUER=idp.url,
            LOCALAI_OIDC_CLIENT_ID="webapp",
            LOCALAI_OIDC_CLIENT_SECRET="webapp-secret",
            LOCALAI_OIDC_ADMIN_GROUPS="gatehouse-admins",
            LOCALAI_ADMIN_EMAIL="chief@idp.example",
            **{"LOCALAI_OIDC_AUDIENCE": AUDIENCE, **settings},
        )
        self.made.append((server, idp))
        if idp_up:
            server.until(lambda: "oidc" in providers_of(server), 20)
        return server, idp

    def stop(self) -> None:
        for server, _ in self.made:
            server.process.terminate()  # all at once: each takes its second
        for server, idp in self.made:
            server.stop()
            idp.stop()


def providers_of(server: Server) -> list[str]:
    return list(httpx.get(f"{server.url}/api/auth/status").json()["providers"])


@pytest.fixture(scope="package")
def ground(tmp_path_factory: pytest.TempPathFactory, github: GitHub) -> Iterator[Ground]:
    if shutil.which("npm") is None:
        pytest.skip("the test identity provider needs node and npm")
    made = Ground(tmp_path_factory.mktemp("identity"), github)
    yield made
    made.stop()


@pytest.fixture(scope="package")
def open_house(ground: Ground) -> tuple[Server, Idp]:
    """A server in open mode with both providers."""
    return ground.server(LOCALAI_REGISTRATION_MODE="open")


@pytest.fixture
def house(open_house: tuple[Server, Idp]) -> Iterator[tuple[Server, Idp]]:
    """The same, with the provider behaving again afterwards."""
    yield open_house
    open_house[1].mode()


@pytest.fixture
def somebody(house, github):
    """A new person that both providers know."""

    def make(login=None, *, email=None, verified=True, server=None, **claims):
        number = next(_number)
        login = login or f"p{number}"
        email = email or f"{login}@idp.example"
        github.add(login, number=number, email=email, verified=verified)
        house[1].person(login, email=email, email_verified=verified, **claims)
        return Person(server or house[0], login)

    return make


class Admin(Person):
    """The admin of a server, in a browser, who tests providers."""

    def __init__(self, server: Server) -> None:
        super().__init__(server, "admin")
        body = {"email": "admin@example.org", "password": PASSWORD}
        assert self.api("POST", "/api/auth/login", body).status_code == 200

    def trial_callback(self, provider: str, login: str) -> str:
        """Run the test as `login` would sign in; the address of our callback at its end."""
        self.login = login
        page = self.form(f"/app/providers/{provider}/test")
        link = BeautifulSoup(page.text, "html.parser").find("a", class_="primary")
        return str(self.follow(str(link["href"]), stop="/callback").headers["location"])

    def try_provider(self, provider: str, login: str) -> str:
        """The page that the test ends with. The provider knows nobody of before."""
        ours = {c.name: c for c in self.http.cookies.jar if c.domain.startswith("localhost")}
        self.http.cookies.clear()
        for cookie in ours.values():
            self.http.cookies.jar.set_cookie(cookie)
        return self.http.get(self.trial_callback(provider, login)).text


@pytest.fixture
def as_admin(house: tuple[Server, Idp]) -> Admin:
    return Admin(house[0])
