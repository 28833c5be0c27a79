"""Two machines on one database: a change on one is in force on the other within 250 ms.

Each has a data path of its own, as another machine would; PostgreSQL's NOTIFY or Redis carries the news.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.machines import two_machines
from tests.postgresql import free_port
from tests.servers import Server

LIMIT_S = 0.25


@pytest.fixture(scope="module", params=["notify", "redis"])
def machines(request: Any, tmp_path_factory: Any) -> Iterator[tuple[Server, Server]]:
    folder = tmp_path_factory.mktemp("machines")
    with_redis = request.param == "redis"
    with two_machines(folder, with_redis=with_redis, LOCALAI_ENGINES="http://127.0.0.1:9") as made:
        yield made


def test_a_change_on_one_machine_bites_on_the_other(machines):
    one, two = machines
    body = {"email": f"bob{time.time_ns()}@example.org", "password": "correct horse lamp"}
    with httpx.Client(base_url=one.url) as browser, one.client() as admin:
        user = browser.post("/api/auth/register", json=body).json()["user"]
        key = browser.post("/api/auth/api-keys", json={"name": "k"}).json()["key"]
        headers = {"Authorization": f"Bearer {key}"}
        for _ in range(8):  # every worker of the other machine remembers bob
            assert httpx.get(f"{two.url}/v1/models", headers=headers).status_code == 200

        path = f"/api/auth/admin/users/{user['id']}/status"
        assert admin.put(path, json={"status": "disabled"}).status_code == 200
        time.sleep(LIMIT_S)
        refused = {httpx.get(f"{two.url}/v1/models", headers=headers).status_code for _ in range(8)}
        assert refused == {401}
        admin.put(path, json={"status": "active"})
        time.sleep(LIMIT_S)
        assert httpx.get(f"{two.url}/v1/models", headers=headers).status_code == 200


def test_a_machine_with_another_secret_says_so_and_stops(machines, tmp_path):
    """S-46: its keys and sessions would be worthless."""
    from tests.servers import ROOT

    one, _ = machines
    settings = {**one.environment(), "LOCALAI_AUTH_HMAC_SECRET": "x" * 40}
    settings.update(LOCALAI_DATA_PATH=str(tmp_path), LOCALAI_ADDRESS=f"127.0.0.1:{free_port()}")
    command = [sys.executable, "manage.py", "serve", "--web-only"]

    done = subprocess.run(
        command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=60
    )

    assert done.returncode != 0
    assert "the secrets here are not those" in done.stdout + done.stderr


def test_a_setting_changed_on_one_machine_counts_on_the_other(machines):
    """R-01, R-21: a legacy key works and is revoked on both, by the lane and by the slow door."""
    one, two = machines
    headers = {"Authorization": "Bearer made-on-the-other-machine"}

    def statuses():
        paths = ["/v1/models", "/api/settings"] * 8
        return {httpx.get(two.url + path, headers=headers).status_code for path in paths}

    with one.client() as admin:
        assert statuses() == {401}
        for keys, expected in ((["made-on-the-other-machine"], {200}), ([], {401})):
            assert admin.post("/api/settings", json={"api_keys": keys}).status_code == 200
            time.sleep(LIMIT_S)
            assert statuses() == expected
