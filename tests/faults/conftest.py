"""A real server in front of a stub engine that fails as it is told."""

from collections.abc import Iterator

import pytest

from tests.servers import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory, engine) -> Iterator[Server]:
    made = Server(
        tmp_path_factory.mktemp("faults"), web_only=True, LOCALAI_ENGINES=f"m={engine.url}"
    )
    with made.client() as client:
        made.until(lambda: client.post("/v1/chat/completions", json=ask()).status_code == 200, 30)
    yield made
    made.stop()


def ask(stream=False, **stub):
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    return {**body, "stream": stream, **({"stub": stub} if stub else {})}
