"""What several modules here need: a stub engine behind a model, and a chat to talk in."""

import json
import time

import pytest

from chat import messages
from chat.models import Conversation, Message
from tests.people import Api


@pytest.fixture
def engine(settings, stub):
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"engines": [f"m={stub.url}"]})
    return stub


def conversation(user, *texts, **fields):
    """One with an exchange for each text, without an engine."""
    made = Conversation.objects.create(user=user, **fields)
    for text in texts:
        begun = messages.ask(made, made.leaf, text, [])
        Message.objects.filter(pk=begun.answer.pk).update(
            status="done", lease_until=None, content=f"answer to {text}", model="m"
        )
        begun.answer.refresh_from_db()
        made.leaf = begun.answer
    return made


def told(**what) -> str:
    """A message that tells the stub engine what to do."""
    return "stub " + json.dumps(what)


class Chat:
    """One conversation of a person's, by the API."""

    def __init__(self, api: Api, **fields) -> None:
        self.api = api
        answer = api.post("/api/chats", {"model": "m", **fields})
        assert answer.status_code == 201, answer.content
        self.id = answer.json()["id"]
        self.path = f"/api/chats/{self.id}"

    def say(self, content="hi", **more):
        return self.api.post(f"{self.path}/messages", {"content": content, **more})

    def ask(self, content="hi", **more):
        """Says it, and gives the answer back once that has ended."""
        begun = self.say(content, **more)
        assert begun.status_code == 202, begun.content
        return self.ended(begun.json()["answer"]["id"])

    def do(self, message_id, step, **body):
        return self.api.post(f"{self.path}/messages/{message_id}/{step}", body)

    def message(self, message_id):
        return self.api.get(f"{self.path}/messages/{message_id}").json()

    def ended(self, message_id, timeout_s=10.0):
        deadline = time.monotonic() + timeout_s
        while (found := self.message(message_id))["status"] == "streaming":
            assert time.monotonic() < deadline, found
            time.sleep(0.03)
        return found

    def shown(self, **query):
        words = "&".join(f"{name}={value}" for name, value in query.items())
        return self.api.get(f"{self.path}?{words}").json()

    def follow(self, message_id, after=""):
        answer = self.api.get(f"{self.path}/messages/{message_id}/stream?after={after}")
        return events_of(b"".join(answer.streaming_content))


def events_of(raw: bytes):
    """(name, data, id) of each event of a stream."""
    found = []
    for block in raw.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"]), lines.get("id")))
    return found
