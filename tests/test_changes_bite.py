"""Changes of rights are in force in every worker at the latest 250 ms after the admin's call returned."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.postgresql import Cluster
from tests.servers import PASSWORD, Server

WORKERS, CONNECTIONS, LIMIT_S = 4, 24, 0.25
NEW = "a wholly different phrase"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(request: Any, tmp_path_factory: Any) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("bite")
    with ExitStack() as stack:
        settings = {}
        if request.param == "postgresql":
            cluster = Cluster(folder / "postgresql")
            stack.callback(cluster.stop)
            cluster.create("bite")
            settings["LOCALAI_AUTH_DATABASE_URL"] = cluster.url("bite")
        made = Server(
            folder,
            web_only=True,
            LOCALAI_WEB_WORKERS=str(WORKERS),
            LOCALAI_ENGINES="http://127.0.0.1:9",
            LOCALAI_REGISTRATION_MODE="open",
            **settings,
        )
        stack.callback(made.stop)
        yield made


class Everywhere:
    """Kept connections to every worker, each asking with the same credential."""

    def __init__(self, stack: ExitStack, server: Server, **headers: str) -> None:
        self.clients = [
            stack.enter_context(httpx.Client(base_url=server.url, headers=headers, timeout=10))
            for _ in range(CONNECTIONS)
        ]

    def statuses(self, method: str, path: str) -> set[int]:
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            return set(
                pool.map(lambda c: c.request(method, path, json={}).status_code, self.clients)
            )


class Bob:
    """A user with a session and a key."""

    def __init__(self, stack: ExitStack, server: Server) -> None:
        self.browser = stack.enter_context(httpx.Client(base_url=server.url, timeout=10))
        body = {"email": f"bob{time.time_ns()}@example.org", "password": PASSWORD}
        made = self.browser.post("/api/auth/register", json=body)
        self.id = made.json()["user"]["id"]
        key = self.browser.post("/api/auth/api-keys", json={"name": "k"}).json()
        self.key_id, self.key = key["id"], key["key"]
        self.session = self.browser.cookies["session"]


CHANGES = {
    "status": ("GET", "/v1/models", 200, 401),
    "role": ("GET", "/api/auth/admin/users", 403, 200),
    "permission": ("POST", "/v1/tokenize", 400, 403),
    "key": ("GET", "/v1/models", 200, 401),
    "password": ("GET", "/v1/models", 200, 401),
}


@pytest.mark.parametrize("what", CHANGES)
def test_it_bites_in_every_worker_at_once(server, what):
    method, path, before, after = CHANGES[what]
    with ExitStack() as stack:
        admin = stack.enter_context(server.client())
        bob = Bob(stack, server)
        secret = bob.session if what == "password" else bob.key
        everywhere = Everywhere(stack, server, Authorization=f"Bearer {secret}")
        assert everywhere.statuses(method, path) == {before}  # each worker remembers bob now
        users = f"/api/auth/admin/users/{bob.id}"
        change = {
            "status": lambda: admin.put(f"{users}/status", json={"status": "disabled"}),
            "role": lambda: admin.put(f"{users}/role", json={"role": "admin"}),
            "permission": lambda: admin.put(f"{users}/permissions", json={"tokenize": False}),
            "key": lambda: bob.browser.delete(f"/api/auth/api-keys/{bob.key_id}"),
            "password": lambda: admin.put(f"{users}/password", json={"password": NEW}),
        }[what]

        assert change().status_code == 200
        time.sleep(LIMIT_S)

        assert everywhere.statuses(method, path) == {after}
        if what == "status":  # and back again: a refusal is not remembered, either
            admin.put(f"{users}/status", json={"status": "active"})
            time.sleep(LIMIT_S)
            assert everywhere.statuses(method, path) == {before}
