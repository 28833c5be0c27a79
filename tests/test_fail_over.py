"""Two machines serve one model; one dies in the middle. Through the server as it is started."""

import threading
import time
from collections import Counter

import httpx
import pytest

from tests.servers import Server
from tests.stub import StubEngine

pytestmark = pytest.mark.slow
CHAT = "/v1/chat/completions"
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stub": {"tick": 0.02}}


@pytest.fixture
def stubs():
    made = [StubEngine(), StubEngine()]
    yield made
    for each in made:
        each.stop()


@pytest.fixture
def server(tmp_path, stubs):
    engines = ",".join(f"m={stub.url}" for stub in stubs)
    made = Server(tmp_path, web_only=True, LOCALAI_ENGINES=engines)
    yield made
    made.stop()


def test_an_engine_that_dies_costs_only_what_it_was_working_on(server, stubs):
    found, stop = Counter(), threading.Event()

    def ask():
        with server.client() as client:
            while not stop.is_set():
                answer = client.post(CHAT, json=BODY)
                found[answer.status_code] += 1
                assert answer.status_code in {200, 502}, answer.text

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    received = [stub.state()["received"] for stub in stubs]
    stubs[0].process.kill()
    time.sleep(1.5)
    with server.client() as client:  # before the next look at the engines and after it
        late = [client.post(CHAT, json=BODY).status_code for _ in range(20)]
    stop.set()
    for thread in threads:
        thread.join(20)

    assert min(received) > 0.3 * sum(received)
    assert late == [200] * 20
    assert found[502] <= 8
    assert found[200] > sum(received)
    with server.client() as client:
        assert [each["id"] for each in client.get("/v1/models").json()["data"]] == ["m"]
        listed = client.get("/api/engines").json()["engines"]
    assert sorted(each["state"] for each in listed) == ["ready", "waiting"]


def test_the_books_have_each_request_once(server, stubs):
    stubs[0].process.kill()
    with server.client() as client:
        statuses = [client.post(CHAT, json=BODY).status_code for _ in range(10)]
        assert statuses == [200] * 10
        deadline = time.monotonic() + 20
        while server.usage()["request_count"] < 10:
            assert time.monotonic() < deadline, server.usage()
            time.sleep(0.2)
    assert server.usage()["request_count"] == 10
    assert httpx.get(f"{server.url}/readyz").status_code == 200
