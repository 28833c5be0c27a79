"""`make serve`'s own promises: one clear line for each thing in the way, and no child left behind."""

import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from tests.postgresql import free_port
from tests.servers import ROOT, Server

pytestmark = pytest.mark.alone  # how soon it answers, and is gone again


def serve(folder, **settings):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LOCALAI_", "DJANGO_"))}
    environment |= {
        "LOCALAI_DATA_PATH": str(folder / "data"),
        "LOCALAI_ADDRESS": f"127.0.0.1:{free_port()}",
    }
    environment |= {"LOCALAI_AUTH": "true", "LOCALAI_MODELS": "", **settings}
    return subprocess.run(
        [sys.executable, "manage.py", "serve"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def one_line(done, *words):
    assert done.returncode == 1, done
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0]


def test_a_taken_port(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        one_line(
            serve(tmp_path, LOCALAI_ADDRESS=f"127.0.0.1:{port}"),
            f"port {port} is taken",
            "LOCALAI_ADDRESS",
        )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOCALAI_ADDRESS", "nonsense"),
        ("LOCALAI_REGISTRATION_MODE", "everybody"),
        ("LOCALAI_AUTH", "perhaps"),
        ("LOCALAI_AUTH_RATE_LIMIT", "often"),
        ("LOCALAI_UPLOAD_LIMIT", "0"),
        ("LOCALAI_AUTH_HMAC_SECRET", "short"),
        ("LOCALAI_TRUSTED_PROXIES", "everyone"),
        ("LOCALAI_ENGINES", "ftp://x"),
        ("LOCALAI_DEFAULT_API_KEY_EXPIRY", "soon"),
        ("LOCALAI_BASE_URL", "example.org"),
        ("LOCALAI_AUTH_DATABASE_URL", "mysql://x"),
    ],
)
def test_a_malformed_setting_names_itself(tmp_path, name, value):
    done = serve(tmp_path, **{name: value})

    one_line(done, name, "wants")
    secret = name in {"LOCALAI_AUTH_HMAC_SECRET", "LOCALAI_AUTH_DATABASE_URL"}
    assert ("a secret" if secret else value) in done.stderr


def test_a_malformed_secret_is_not_shown(tmp_path):
    assert "hunter2hunter2" not in serve(tmp_path, LOCALAI_AUTH_HMAC_SECRET="hunter2hunter2").stderr


def test_an_open_server_refuses_a_public_address(tmp_path):
    done = serve(tmp_path, LOCALAI_AUTH="false", LOCALAI_ADDRESS="8.8.8.8:8080")

    one_line(done, "LOCALAI_ADDRESS", "LOCALAI_ALLOW_INSECURE_PUBLIC_BIND")


def test_a_database_that_is_not_there(tmp_path):
    url = f"postgresql://x@127.0.0.1:{free_port()}/none"

    one_line(serve(tmp_path, LOCALAI_AUTH_DATABASE_URL=url), "the database cannot be used")


def test_a_data_path_that_cannot_be_made(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")

    one_line(
        serve(tmp_path, LOCALAI_DATA_PATH=str(blocker / "data")),
        "LOCALAI_DATA_PATH",
        "cannot be written",
    )


def test_an_unknown_setting_is_a_warning_with_the_nearest_name(tmp_path):
    server = Server(tmp_path, LOCALAI_REGISTRATON_MODE="open")
    server.stop()

    assert "LOCALAI_REGISTRATION_MODE" in server.log.read_text()


def test_the_page_answers_within_five_seconds_and_everything_stops_on_sigterm_and_ctrl_c(tmp_path):
    for number in (signal.SIGTERM, signal.SIGINT):
        started = time.monotonic()
        (tmp_path / number.name).mkdir()
        server = Server(tmp_path / number.name, accounts=False)
        took = time.monotonic() - started
        below = psutil.Process(server.process.pid).children(recursive=True)
        server.until(lambda made=server: "web is up after" in made.log.read_text(), 5)
        assert server.stop(number) == 0
        assert took < 15
        up_after = float(server.log.read_text().partition("web is up after ")[2].split()[0])
        assert up_after < 5
        _, alive = psutil.wait_procs(below, timeout=5)
        assert alive == []


def test_a_kill_of_the_starter_takes_its_children_along(tmp_path):
    server = Server(tmp_path, accounts=False)
    below = psutil.Process(server.process.pid).children(recursive=True)

    server.process.kill()
    server.process.wait()

    _, alive = psutil.wait_procs(below, timeout=45)
    assert alive == []


def test_a_background_process_that_falls_is_started_again(tmp_path):
    server = Server(tmp_path, accounts=False)
    try:
        (pid,) = server.processes("runbackground")
        os.kill(pid, signal.SIGKILL)
        server.until(lambda: server.processes("runbackground") not in ([], [pid]), 15)
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("DELETE FROM django_migrations WHERE app='usage'", "older than this version"),
        (
            "INSERT INTO django_migrations (app, name, applied) VALUES ('usage', '9999_later', '2026-01-01')",
            "newer than this version",
        ),
    ],
)
def test_a_web_process_stops_at_another_schema(tmp_path, change, words):
    import sqlite3

    server = Server(tmp_path, accounts=False)
    server.stop()
    with sqlite3.connect(tmp_path / "data" / "database.db") as database:
        database.execute(change)
    database.close()
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "localai_project.asgi:application",
        "-k",
        "inference.web_worker.Worker",
    ]

    done = subprocess.run(
        [*command, "-b", f"127.0.0.1:{free_port()}"],
        cwd=ROOT,
        env=server.environment(),
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert done.returncode != 0
    assert sum(words in line for line in done.stderr.splitlines()) == 1


def test_two_background_processes_do_not_share_a_data_path(tmp_path):
    server = Server(tmp_path, accounts=False)
    try:
        done = subprocess.run(
            [sys.executable, "manage.py", "runbackground"],
            cwd=ROOT,
            env=server.environment(),
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 1
        assert "Another background process" in done.stderr
    finally:
        server.stop()
