"""Conversations on real servers with several web processes (R-39): tabs that close, watch, stop; workers that die."""

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx
import pytest

from tests.servers import Server
from tests.stub import StubEngine

pytestmark = pytest.mark.slow
WORKERS = 3


@pytest.fixture(scope="module")
def server(engine: StubEngine, tmp_path_factory: Any) -> Iterator[Server]:
    made = Server(
        tmp_path_factory.mktemp("chats"),
        web_only=True,
        LOCALAI_WEB_WORKERS=str(WORKERS),
        LOCALAI_ENGINES=f"m={engine.url}",
        LOCALAI_REGISTRATION_MODE="open",
    )
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    with made.client() as client:
        made.until(lambda: client.post("/v1/chat/completions", json=body).status_code == 200, 30)
    yield made
    made.stop()


def told(**what: Any) -> str:
    return "stub " + json.dumps(what)


class Person:
    """Somebody of their own with one chat. Every request comes over a new connection, to any worker."""

    def __init__(self, server: Server) -> None:
        self.server = server
        with httpx.Client(base_url=server.url, timeout=20) as browser:
            body = {"email": f"c{time.time_ns()}@example.org", "password": "correct horse lamp"}
            self.id = browser.post("/api/auth/register", json=body).json()["user"]["id"]
            self.cookies = dict(browser.cookies)
        self.path = "/api/chats/" + self("POST", "/api/chats", {"model": "m"}).json()["id"]

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.server.url, cookies=self.cookies, timeout=40)

    def __call__(self, method: str, path: str, body: Any = None) -> httpx.Response:
        with self.client() as client:
            return client.request(method, path, json=body)

    def say(self, **what: Any) -> str:
        answer = self("POST", f"{self.path}/messages", {"content": told(**what)})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["answer"]["id"])

    def answer(self, message_id: str) -> dict[str, Any]:
        return dict(self("GET", f"{self.path}/messages/{message_id}").json())

    def until(self, message_id: str, *statuses: str, timeout_s: float = 20) -> dict[str, Any]:
        def is_there() -> dict[str, Any] | None:
            found = self.answer(message_id)
            return found if found["status"] in statuses else None

        return dict(self.server.until(is_there, timeout_s))

    def watch(self, message_id: str, after: str = "", text: str = "") -> tuple[str, dict[str, Any]]:
        """(text, last word) of a stream that is followed to its end by who has `text` up to `after`."""
        with (
            self.client() as client,
            client.stream(
                "GET", f"{self.path}/messages/{message_id}/stream?after={after}"
            ) as response,
        ):
            assert response.status_code == 200
            name, last = "", {}
            for line in response.iter_lines():
                if line.startswith("event: "):
                    name = line[7:]
                    if name == "reset":  # another worker, which knows less than the reader has
                        text = ""
                elif line.startswith("data: "):
                    last = json.loads(line[6:])
                    text += last.get("content", "") if name == "delta" else ""
            assert name == "end", name
            return text, last

    def events(self) -> list[dict[str, Any]]:
        raw = self("GET", "/api/auth/usage/export?format=jsonl").text
        return [json.loads(line) for line in raw.splitlines() if line]

    def totals(self) -> dict[str, int]:
        return dict(self("GET", "/api/auth/usage?period=day").json()["totals"])


def test_r39_a_tab_that_closes_in_the_middle_loses_nothing(server):
    person = Person(server)
    body = {"content": told(tokens=60, tick=0.02), "stream": True}
    with person.client() as tab, tab.stream("POST", f"{person.path}/messages", json=body) as stream:
        lines = stream.iter_lines()
        begun = json.loads(next(line for line in lines if line.startswith("data: "))[6:])
        next(line for line in lines if '"content":" token"' in line)

    answer = person.until(begun["answer"]["id"], "done")

    assert answer["content"] == " token" * 60
    assert answer["completionTokens"] == 60
    (event,) = person.events()
    assert event["id"] == answer["correlationId"]
    assert (event["completion_tokens"], event["prompt_tokens"]) == (60, 12)
    assert event["source"] == "web"


def test_r39_many_tabs_of_many_workers_see_the_same(server):
    person = Person(server)
    message_id = person.say(tokens=80, tick=0.02)

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda _: person.watch(message_id), range(12)))

    assert {text for text, _ in found} == {" token" * 80}
    assert {last["completionTokens"] for _, last in found} == {80}


def test_r39_a_tab_that_is_loaded_again_goes_on_where_it_was(server):
    person = Person(server)
    message_id = person.say(tokens=60, tick=0.03)
    for _ in range(4):
        text, place = "", ""
        with (
            person.client() as tab,
            tab.stream("GET", f"{person.path}/messages/{message_id}/stream") as stream,
        ):
            for line in stream.iter_lines():
                if line.startswith("id: "):
                    place = line[4:]
                elif line.startswith("data: "):
                    text += json.loads(line[6:])["content"]
                if len(text) >= 60:
                    break
        rest, _ = person.watch(message_id, place)
        assert text + rest == " token" * 60


@pytest.mark.parametrize("_turn", range(4))
def test_r39_stop_from_any_worker_ends_it_at_once_and_bills_what_came(server, engine, _turn):
    person = Person(server)
    message_id = person.say(tokens=2000, tick=0.01)
    time.sleep(0.6)

    began = time.monotonic()
    stopped = person("POST", f"{person.path}/messages/{message_id}/stop")

    assert stopped.status_code == 200
    assert time.monotonic() - began < 1.5
    answer = stopped.json()
    assert answer["status"] == "stopped"
    assert 10 < answer["completionTokens"] < 1000
    assert answer["content"] == " token" * answer["completionTokens"]
    (event,) = person.events()
    assert event["completion_tokens"] == answer["completionTokens"]
    assert event["id"] == answer["correlationId"]
    server.until(lambda: engine.state()["active"] == 0, 5)


def test_r39_usage_is_what_the_api_counts(server):
    chat, plain = Person(server), Person(server)
    chat.until(chat.say(tokens=9), "done")
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": told(tokens=9)}],
        "stream": True,
    }
    assert plain("POST", "/v1/chat/completions", body).status_code == 200

    assert chat.totals() == plain.totals()
    names = ("endpoint", "model", "source", "prompt_tokens", "completion_tokens", "status")
    one, other = chat.events()[0], plain.events()[0]
    assert {n: one.get(n) for n in names} == {n: other.get(n) for n in names}


def test_r39_a_quota_that_is_reached_says_so_and_keeps_nothing(server):
    person = Person(server)
    with server.client() as admin:
        rule = {"max_requests": 1, "window": "1h"}
        assert admin.put(f"/api/auth/admin/users/{person.id}/quotas", json=rule).status_code == 200
    time.sleep(0.3)
    person.until(person.say(tokens=2), "done")

    refused = person("POST", f"{person.path}/messages", {"content": "more", "stream": True})

    assert refused.status_code == 429
    error = refused.json()["error"]
    assert error["reason"] == "quota_exceeded"
    assert "1" in error["message"]
    assert int(refused.headers["retry-after"]) > 0
    assert person("GET", person.path).json()["chat"]["messageCount"] == 2


def test_r39_deleting_a_chat_while_it_is_answered_ends_that(server, engine):
    person = Person(server)
    message_id = person.say(tokens=5000, tick=0.01)
    time.sleep(0.3)

    assert person("DELETE", person.path).status_code == 200

    server.until(lambda: engine.state()["active"] == 0, 3)
    assert person("GET", f"{person.path}/messages/{message_id}").status_code == 404
    (event,) = person.events()
    assert event["completion_tokens"] > 10


def test_r39_a_worker_that_is_killed_leaves_an_answer_that_is_cut_off_and_goes_on(server):
    person = Person(server)
    message_id = person.say(tokens=3000, tick=0.02)
    time.sleep(1.2)
    watcher = ThreadPoolExecutor(1)
    for pid in server.web_workers():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    server.until(server.answers, 30)

    text, last = watcher.submit(person.watch, message_id).result(60)

    assert (last["status"], last["reason"]) == ("cut", "server_stopped")
    assert last["completionTokens"] > 20
    assert text == " token" * last["completionTokens"]
    assert (last["model"], last["promptTokens"]) == ("m", 12)
    (event,) = person.events()  # the books have what was delivered, as an estimate (S-18)
    assert event["id"] == last["correlationId"]
    assert event["completion_tokens"] >= last["completionTokens"] // 2
    watcher.shutdown()
    # it is continued by an engine that is told the same question: 3000 more, of which a few do
    again = person("POST", f"{person.path}/messages/{message_id}/continue")
    assert again.status_code == 202
    time.sleep(0.5)
    stopped = person("POST", f"{person.path}/messages/{message_id}/stop").json()
    assert stopped["completionTokens"] > last["completionTokens"]
    assert stopped["content"].startswith(text)


def test_r39_a_server_that_is_stopped_keeps_what_came(engine, tmp_path):
    server = Server(
        tmp_path, web_only=True, LOCALAI_ENGINES=f"m={engine.url}", LOCALAI_REGISTRATION_MODE="open"
    )
    try:
        person = Person(server)
        server.until(lambda: person("GET", "/v1/models").json()["data"], 20)
        message_id = person.say(tokens=5000, tick=0.02)
        time.sleep(0.5)
        began = time.monotonic()

        server.stop()
        assert time.monotonic() - began < 40
        server.start()

        answer = person.answer(message_id)
        assert (answer["status"], answer["reason"]) == ("cut", "server_stopped")
        assert answer["content"] == " token" * answer["completionTokens"]
        (event,) = person.events()
        assert event["completion_tokens"] == answer["completionTokens"]
    finally:
        server.stop()
