"""The engine process: nothing of vLLM outlives it, a restart finds its feet, a second one refuses."""

import os
import signal
import subprocess
import sys

import psutil

from inference.sockets import socket_folder
from tests.servers import CHAT, ROOT


def engine_processes(server):
    """Everything that belongs to this server's engines, by the home they were given."""
    home = str(socket_folder(server.folder / "data"))
    found = []
    for process in psutil.process_iter(["cmdline", "name", "environ"]):
        environ = process.info["environ"] or {}
        if environ.get("HOME", "").startswith(home):
            found.append(process)
    return found


def ask(server, **more):
    body = {"model": CHAT, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}
    with server.client() as client:
        return client.post("/v1/chat/completions", json={**body, **more}, timeout=200)


def test_a_second_engine_process_refuses(sqlite_server):
    done = subprocess.run(
        [sys.executable, "manage.py", "runengine"],
        cwd=ROOT,
        env=sqlite_server.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 1
    assert "Another engine process" in done.stderr


def test_engines_listen_on_private_sockets_only(sqlite_server):
    folder = socket_folder(sqlite_server.folder / "data")

    assert folder.stat().st_mode & 0o777 == 0o700
    assert len(list(folder.glob("*.sock"))) == 2
    for process in engine_processes(sqlite_server):
        listening = [c for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        assert [c for c in listening if c.laddr.ip not in {"127.0.0.1", "::1"}] == []


def test_an_engine_gets_a_clean_environment(sqlite_server):
    for process in engine_processes(sqlite_server):
        names = process.environ()
        assert not [name for name in names if name.startswith(("LOCALAI_", "DJANGO_", "PYTHON"))]


def test_a_killed_engine_comes_back_and_callers_are_told_meanwhile(sqlite_server):
    victims = [p for p in engine_processes(sqlite_server) if CHAT in " ".join(p.cmdline())]
    for victim in victims:
        victim.kill()

    answer = ask(sqlite_server)
    assert answer.status_code in {502, 503}

    def is_loading() -> bool:  # as soon as the worker that answers has heard of it
        return ask(sqlite_server, stream=True).json()["error"]["reason"] == "model_loading"

    sqlite_server.until(is_loading, 10)
    sqlite_server.until(lambda: ask(sqlite_server).status_code == 200, 180)


def test_a_killed_engine_process_leaves_nothing_and_its_successor_starts_anew(sqlite_server):
    before = engine_processes(sqlite_server)
    assert len(before) >= 4
    (pid,) = sqlite_server.processes("runengine")

    os.kill(pid, signal.SIGKILL)

    _, alive = psutil.wait_procs(before, timeout=20)
    assert alive == []
    sqlite_server.until(lambda: ask(sqlite_server).status_code == 503, 20)
    sqlite_server.until(lambda: ask(sqlite_server).status_code == 200, 240)


def test_stopping_the_server_stops_everything(tmp_path):
    from tests.servers import Server

    server = Server(tmp_path, LOCALAI_MODELS=CHAT)
    try:
        server.until(lambda: engine_processes(server), 30)
        below = engine_processes(server)
    finally:
        server.stop()

    _, alive = psutil.wait_procs(below, timeout=5)
    assert alive == []
