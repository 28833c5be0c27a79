"""A request that hangs, on a server as it is started: ended by a setting that was changed meanwhile."""

import threading
import time

import pytest

from tests.servers import Server
from tests.stub import StubEngine

pytestmark = pytest.mark.slow


@pytest.fixture
def stub():
    made = StubEngine()
    yield made
    made.stop()


@pytest.fixture
def server(tmp_path, stub):
    made = Server(tmp_path, web_only=True, LOCALAI_ENGINES=f"m={stub.url}")
    yield made
    made.stop()


def test_set_watchdog_busy_timeout_ends_requests_in_every_worker(server, stub):
    """SET:watchdog_busy_enabled, SET:watchdog_busy_timeout."""
    found = []

    def hang():
        body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stub": {"hang": 1}}
        with server.client() as client:
            found.append(client.post("/v1/chat/completions", json=body))

    threads = [threading.Thread(target=hang) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    assert found == []
    given = {
        "watchdog_busy_enabled": True,
        "watchdog_busy_timeout": "1s",
        "watchdog_interval": "100ms",
    }
    with server.client() as client:
        assert client.post("/api/settings", json=given).status_code == 200
    for thread in threads:
        thread.join(10)

    assert [answer.status_code for answer in found] == [504] * 4
    assert {answer.json()["error"]["reason"] for answer in found} == {"engine_timeout"}
    server.until(lambda: stub.state()["active"] == 0, 5)
    assert stub.state()["aborted"] == 4
