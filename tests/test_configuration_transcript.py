"""The curl lines of docs/operations.md, "A model's configuration", as they stand there; and what of an
edit is left when web workers are killed in the middle of it."""

import json
import os
import random
import re
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
import yaml

from tests.servers import ROOT, Server

CONFIG = "/api/models/config-json/mine"


@pytest.fixture
def server(tmp_path) -> Iterator[Server]:
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    paths = {"LOCALAI_MODELS_PATH": tmp_path / "models", "LOCALAI_BACKENDS_PATH": tmp_path / "none"}
    one = Server(tmp_path, **{name: str(path) for name, path in paths.items()})
    yield one
    one.stop()


def lines_of_the_docs() -> tuple[str, list[str]]:
    text = (ROOT / "docs" / "operations.md").read_text()
    block = re.search(r"## A model's configuration\n.*?```sh\n(.*?)```", text, re.DOTALL)
    assert block is not None
    head, *lines = block[1].strip().splitlines()
    return head, lines


def config_in(file: Any) -> Any:
    return yaml.safe_load(file.read_text())


def test_an_admin_with_curl_configures_a_model(server):
    head, lines = lines_of_the_docs()
    head = head.replace("http://localhost:8080", server.url)
    file = server.folder / "models" / "mine" / "gatehouse.yaml"

    def run(line: str) -> Any:
        script = f"KEY={shlex.quote(server.key)}; {head}; {line}"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (line, done.stderr)
        return json.loads(done.stdout)

    bring, edit, patch, aliases, disable, enable, unpin, again = lines
    job = run(bring)["uuid"]
    with server.client() as client:
        server.until(lambda: client.get(f"/models/jobs/{job}").json()["processed"], 60)
        assert client.get(f"/models/jobs/{job}").json()["message"] == "completed"
        assert run(edit)["config"] == file.read_text()
        found = run(patch)
        assert (found["options"], found["engine"]) == ({"max_model_len": 2048}, "next load")
        assert config_in(file)["pinned"] is True
        assert run(aliases) == {"aliases": [{"name": "gpt-4o", "model": "mine"}]}
        everywhere(server, "/v1/models/gpt-4o", 200)
        assert run(disable)["message"] == "mine is disabled"
        everywhere(server, "/v1/models/gpt-4o", 403)
        assert run(enable)["success"] is True
        everywhere(server, "/v1/models/gpt-4o", 200)
        assert run(unpin)["success"] is True
        assert run(again) == {"success": True, "message": "nothing had changed", "changed": []}
        actions = client.get("/api/auth/admin/audit?action=model_changed").json()["records"]
        assert len(actions) == 4


def everywhere(server: Server, path: str, status: int) -> None:
    """Every worker knows it at the latest 250 ms later (the lane's own answer)."""
    time.sleep(0.25)
    headers = {"Authorization": f"Bearer {server.key}"}
    for _ in range(16):
        assert httpx.get(f"{server.url}{path}", headers=headers, timeout=20).status_code == status


@pytest.mark.slow
def test_r19_row_and_file_agree_after_workers_were_killed(server):
    """kill -9 at random moments of edits: what the row says is what the file says, at the latest after
    a reload, and no answered edit is lost."""
    rng = random.Random(7)  # moments, no secrets
    file = server.folder / "models" / "mine" / "gatehouse.yaml"
    with server.client() as client:
        job = client.post("/models/import", json={"name": "mine"}).json()["uuid"]
        server.until(lambda: client.get(f"/models/jobs/{job}").json()["processed"], 60)
    total = 0
    for round_ in range(4):
        answered = edit_until_killed(server, rng, round_)
        total += answered
        server.until(server.answers, 30)
        with server.client() as client:
            reloaded = client.post("/models/reload")
            assert reloaded.status_code == 200, reloaded.text
            assert reloaded.json()["changed"] == []  # nothing was taken for an edit by hand
            found = client.get(CONFIG).json()
        assert found["idle_timeout"] >= answered
        assert config_in(file) == found
    assert total  # some were answered before


def edit_until_killed(server: Server, rng: random.Random, round_: int) -> int:
    """Edit as fast as it goes, kill the workers meanwhile; the last number that was answered."""
    answered, ends = 0, time.monotonic() + 0.2 + rng.random() * 0.4
    number = 1000 * (round_ + 1)
    with server.client() as client:
        while True:
            number += 1
            if time.monotonic() > ends and ends:
                ends = 0
                kill_workers(server, rng.random() * 0.02)
            try:
                done = client.patch(CONFIG, json={"idle_timeout": number}, timeout=5)
            except httpx.HTTPError:
                return answered
            if done.status_code == 200:
                answered = number
            if number > 1000 * (round_ + 1) + 900:
                return answered


def kill_workers(server: Server, after_s: float) -> None:
    def kill() -> None:
        time.sleep(after_s)
        for pid in server.web_workers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    threading.Thread(target=kill).start()
