"""R-18, R-26, R-27: a running server does what its own document says, and never answers 5xx to input.

schemathesis makes the requests. A few examples of each operation on SQLite; `make test-full` takes
many, on PostgreSQL, which refuses more.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.postgresql import Cluster
from tests.schema_runs import LEFT_OUT, Caller, Things, findings
from tests.servers import Server
from tests.stub import StubEngine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SOME_ID = "00000000-0000-4000-8000-000000000000"
SOME = {
    **dict.fromkeys(("user_id", "key_id", "invite_id", "price_id"), SOME_ID),
    **dict.fromkeys(("quota_id", "session_id", "chat_id", "message_id"), SOME_ID),
    "passkey_id": "1",
    "number": "1",
}
FEW, MANY = 3, 30


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Server]:
    """A server with one remote engine, whose models and backends are nobody else's."""
    stub, one = StubEngine(), None
    try:
        one = Server(
            folder,
            web_only=True,
            LOCALAI_ENGINES=f"m={stub.url}",
            LOCALAI_MODELS_PATH=str(folder / "models"),
            LOCALAI_BACKENDS_PATH=str(folder / "backends"),
            **settings,
        )
        yield one
    finally:
        if one is not None:
            one.stop()
            print(one.log.read_text()[-5000:])  # pytest shows it where a test failed
        stub.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("schema")) as one:
        yield one


@pytest.fixture
def server_on_postgresql(tmp_path):
    cluster = Cluster(tmp_path / "postgresql")
    try:
        url = cluster.url("gatehouse")
        with serving(tmp_path, LOCALAI_AUTH_DATABASE_URL=url) as one:
            yield one
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def document(server):
    return httpx.get(f"{server.url}/swagger/doc.json", timeout=30).json()


def as_admin(server, document, examples):
    return findings(document, Caller(server, admin=True), examples=examples, real=Things(server))


def refused(response, operation):
    """The anonymous see nothing of what is not public."""
    if operation["x-requirement"] != "public" and response.status_code not in {400, 401}:
        return f"{response.status_code} for nobody"
    return ""


def as_nobody(server, document, examples):
    def nothing(_method, _path):
        yield from ()

    return findings(
        document, Caller(server, admin=False), examples=examples, real=nothing, check=refused
    )


def test_r27_an_admin_gets_no_5xx_and_nothing_outside_the_schema(server, document):
    found = as_admin(server, document, FEW)

    assert not found, "\n".join(found)


def test_r27_nobody_gets_401_and_nothing_outside_the_schema(server, document):
    found = as_nobody(server, document, FEW)

    assert not found, "\n".join(found)


@pytest.mark.full
def test_r27_the_same_with_many_examples_on_postgresql(server_on_postgresql):
    server = server_on_postgresql
    document = httpx.get(f"{server.url}/swagger/doc.json", timeout=30).json()

    found = [*as_admin(server, document, MANY), *as_nobody(server, document, MANY)]

    assert not found, "\n".join(found)


BAD_BODIES = {
    "no JSON": (b"{", "application/json"),
    "a list": (b"[]", "application/json"),
    "a number": (b"1e999", "application/json"),
    "nothing but null": (b"null", "application/json"),
    "too deep": (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "application/json"),
    "half a surrogate": (b'{"model": "\\ud800", "email": "\\ud800"}', "application/json"),
    "no UTF-8": (b'{"model": "\xff", "email": "\xff"}', "application/json"),
    "XML": (b"<model>m</model>", "application/xml"),
    "a form": (b"model=m&email=x", "application/x-www-form-urlencoded"),
    "parts": (b"--x\r\n\r\nm\r\n--x--", "multipart/form-data; boundary=x"),
}


def test_r27_what_is_no_object_is_400_everywhere(server, document):
    wrong = []
    with server.client() as client, server.admin_browser() as browser:
        for path, methods in document["paths"].items():
            address = re.sub(r"{(\w+)}", lambda name: SOME.get(name.group(1), "m"), path)
            for method, operation in methods.items():
                if "requestBody" not in operation:
                    continue
                by = browser if operation["x-requirement"].endswith("session") else client
                for name, (body, kind) in BAD_BODIES.items():
                    headers = {"content-type": kind}
                    answer = by.request(method, address, content=body, headers=headers)
                    if not 400 <= answer.status_code < 500 or "Traceback" in answer.text:
                        wrong.append(f"{method} {path}, {name}: {answer.status_code}")
    assert not wrong, "\n".join(wrong)


def test_r27_any_other_method_of_any_address_is_405(server, document):
    wrong = []
    with server.client() as client:
        for path, methods in document["paths"].items():
            address = re.sub(r"{(\w+)}", lambda name: SOME.get(name.group(1), "m"), path)
            for method in {"get", "post", "put", "patch", "delete"} - methods.keys():
                answer = client.request(method, address)
                error = answer.json().get("error")  # the gate's, so never a flat one
                if answer.status_code != 405 or not isinstance(error, dict):
                    wrong.append(f"{method} {path}: {answer.status_code} {answer.text[:100]}")
    assert not wrong, "\n".join(wrong)


def test_what_is_left_out_is_in_the_document(document):
    for method, path in LEFT_OUT:
        assert method.lower() in document["paths"][path]
