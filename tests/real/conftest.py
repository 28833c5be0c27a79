"""One real vLLM with the chat model and one with the embedding model, started once per run.

The server on SQLite owns them; the one on PostgreSQL has them as remote engines.
"""

from collections.abc import Iterator

import pytest

from inference.sockets import socket_for
from tests.postgresql import Cluster
from tests.servers import CHAT, EMBEDDINGS, Server


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/real" in str(item.path):
            item.add_marker(pytest.mark.real)
            item.add_marker(pytest.mark.timeout(1200))


@pytest.fixture(scope="package")
def sqlite_server(tmp_path_factory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("sqlite"), LOCALAI_MODELS=f"{CHAT},{EMBEDDINGS}")
    try:
        server.wait_for_engines()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="package")
def postgresql_server(tmp_path_factory, sqlite_server) -> Iterator[Server]:
    data = sqlite_server.folder / "data"
    engines = ",".join(f"{name}=unix:{socket_for(name, data)}" for name in (CHAT, EMBEDDINGS))
    cluster = Cluster(tmp_path_factory.mktemp("pg") / "cluster")
    server = Server(
        tmp_path_factory.mktemp("postgresql"),
        web_only=True,
        LOCALAI_ENGINES=engines,
        LOCALAI_AUTH_DATABASE_URL=cluster.url("gatehouse"),
    )

    def served():
        with server.client() as client:
            answer = client.post("/v1/tokenize", json={"model": EMBEDDINGS, "content": "x"})
        return answer.status_code == 200

    try:
        server.until(served, 60)
        yield server
    finally:
        server.stop()
        cluster.stop()


@pytest.fixture(scope="package", params=["sqlite", "postgresql"])
def server(request) -> Server:
    return request.getfixturevalue(f"{request.param}_server")
