"""The curl lines of docs/operations.md, "Models", as they stand there, on a server without models."""

import json
import re
import shlex
import subprocess

import pytest

from tests.servers import EMBEDDINGS, ROOT, Server


def lines_of_the_docs():
    text = (ROOT / "docs" / "operations.md").read_text()
    block = re.search(r"## Models\n.*?```sh\n(.*?)```", text, re.DOTALL)[1]
    head, *lines = block.strip().splitlines()
    return head, lines


@pytest.fixture
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("curl")  # short: vLLM makes sockets of its own below it
    one = Server(folder, LOCALAI_MODELS_PATH=str(folder / "models"), LOCALAI_WEB_WORKERS="1")
    yield one
    one.stop()


def test_an_admin_with_curl_installs_asks_reads_unloads_and_deletes(server):
    """The "Done when" of the machine room: R-12, R-13, R-14, R-16."""
    models = server.folder / "models"
    head, lines = lines_of_the_docs()
    head = head.replace("http://localhost:8080", server.url)

    def run(line):
        script = f"KEY={shlex.quote(server.key)}; {head}; {line}"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (line, done.stderr)
        return json.loads(done.stdout)

    def is_quiet():
        listed = run(operations)["operations"]
        assert not [row for row in listed if "error" in row], listed
        return not listed

    search, install, operations, embed, log, traces, shutdown, delete = lines
    assert [row["name"] for row in run(search)["models"]] == [EMBEDDINGS]
    assert run(install)["message"] == "Installation started"
    server.until(is_quiet, 300)
    assert (models / EMBEDDINGS / "config.json").exists()
    answer = server.until(lambda: run(embed).get("data"), 240)
    assert len(answer[0]["embedding"]) == 384

    said = run(log)
    assert any("/v1/embeddings" in line["text"] for line in said), said[-5:]
    assert [line["seq"] for line in said] == sorted(line["seq"] for line in said)
    trace = run(traces)[-1]
    assert (trace["model"], trace["response"]["status"]) == (EMBEDDINGS, 200)
    assert trace["prompt_tokens"] == run(embed)["usage"]["prompt_tokens"] > 0
    assert run(shutdown) == {"message": "model stopped"}
    server.until(lambda: server.processes("vllm") == [], 10)
    job = run(delete)["uuid"]
    with server.client() as client:
        server.until(lambda: client.get(f"/models/jobs/{job}").json()["processed"], 90)
        assert client.get(f"/models/jobs/{job}").json()["message"] == "completed"
        assert client.get("/v1/models").json()["data"] == []
    assert not (models / EMBEDDINGS).exists()
    assert server.processes("vllm") == []
