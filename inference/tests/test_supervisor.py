"""One engine's life, with the stub as the engine: start, back-off, giving up, guardian, idle."""

import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from accounts.runtime import stored_settings
from inference import supervisor
from inference.guarded import Guarded
from inference.models import Engine, EngineState, Model
from inference.recipes import Option, Recipe, RecipeError, engine_environment, recipes
from inference.supervisor import Runner
from inference.tests.fake_backend import line_of
from tests.stub import ROOT

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
STUB = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import asyncio; from bench.stub_engine import main; asyncio.run(main(sys.argv[1]))"

COUNTS_NOTHING = """
import socketserver, sys
class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        self.rfile.readline()
        self.wfile.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 3\\r\\n\\r\\nx 1")
socketserver.ThreadingUnixStreamServer(sys.argv[1], Answer).serve_forever()
"""


def recipe(*command, options=None):
    return Recipe(
        name="test",
        description="",
        version="1",
        tags=(),
        hardware=("cpu",),
        install=(),
        command=command,
        environment={"X": "{threads}"},
        options=options or {},
        health="/health",
        digest="d",
    )


WORKS = recipe(sys.executable, "-c", STUB, "{socket}")
FAILS = recipe(
    sys.executable, "-c", "import sys; sys.exit('ValueError: no such file /root/secret/place')"
)


@pytest.fixture
def make_runner(settings, tmp_path, monkeypatch):
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"data_path": tmp_path})
    monkeypatch.setattr(supervisor, "BACKOFF_S", (0.05,) * 5)
    monkeypatch.setattr(supervisor, "PROBE_STARTING_S", 0.05)
    monkeypatch.setattr(supervisor, "PROBE_READY_S", 0.05)
    stored_settings().fresh()
    made = []
    with ThreadPoolExecutor(2) as probes:

        def make(with_recipe, **fields):
            model = Model.objects.create(
                name="m", source="", backend="test", directory=str(tmp_path), **fields
            )
            made.append(Runner(model, with_recipe, probes))
            return made[-1]

        yield make
        for runner in made:
            runner.stop()


def until(runner, check, timeout_s=20):
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, Engine.objects.values().first()
        runner.tick()
        time.sleep(0.02)


def test_an_engine_becomes_ready_and_its_row_says_where(make_runner):
    runner = make_runner(WORKS)
    runner.start()

    until(runner, lambda: runner.state == EngineState.READY)

    row = Engine.objects.get()
    assert row.state == EngineState.READY
    assert row.address.startswith("unix:")
    assert row.pid == runner.pid


def test_an_engine_that_is_killed_is_started_again(make_runner):
    runner = make_runner(WORKS)
    runner.start()
    until(runner, lambda: runner.state == EngineState.READY)
    (engine,) = psutil.Process(runner.pid).children()

    engine.kill()
    until(runner, lambda: runner.state != EngineState.READY)
    until(runner, lambda: runner.state == EngineState.READY)

    assert Engine.objects.get().tries == 1


def test_an_engine_that_cannot_start_is_given_up_loudly_after_five_tries(make_runner, caplog):
    runner = make_runner(FAILS)
    runner.start()

    until(runner, lambda: runner.state == EngineState.FAILED)

    row = Engine.objects.get()
    assert row.tries == 5
    assert "ValueError" in row.message
    assert "/root/secret" not in row.message
    assert "gave up after 5 tries" in caplog.text


def test_an_engine_that_stops_answering_is_started_again(make_runner, monkeypatch):
    monkeypatch.setattr(supervisor, "PROBE_TIMEOUT_S", 0.05)
    runner = make_runner(WORKS)
    runner.start()
    until(runner, lambda: runner.state == EngineState.READY)
    (engine,) = psutil.Process(runner.pid).children()

    engine.suspend()
    until(runner, lambda: runner.state != EngineState.READY)

    assert "stopped answering" in Engine.objects.get().message
    assert not engine.is_running()


def test_an_engine_that_counts_nothing_may_be_in_use(make_runner):
    """Of another make than vLLM, or with an error page: its streams are not cut off at once."""
    runner = make_runner(recipe(sys.executable, "-c", COUNTS_NOTHING, "{socket}"))
    runner.start()
    until(runner, lambda: runner.state == EngineState.READY)
    runner.use.look(time.monotonic(), 0.0)
    time.sleep(0.3)
    runner.use.look(time.monotonic(), 60.0)
    assert runner.use.known_at == 0

    began = time.monotonic()
    runner.drain("because", limit_s=2.0)
    until(runner, lambda: runner.state == EngineState.STOPPED)
    assert time.monotonic() - began >= 2


def test_the_guardian_ends_the_whole_tree_when_its_pipe_closes(tmp_path):
    program = (
        "import subprocess, sys, time, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "subprocess.Popen([sys.executable, '-c', 'import os, time; os.setsid(); time.sleep(100)']);"
        "time.sleep(100)"
    )
    guarded = Guarded(
        [sys.executable, "-c", program], environment=dict(os.environ), log=tmp_path / "log"
    )
    deadline = time.monotonic() + 10
    while len(below := psutil.Process(guarded.pid).children(recursive=True)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)

    guarded._process.stdin.close()  # what happens when the supervisor is killed

    _, alive = psutil.wait_procs(below, timeout=15)
    assert alive == []
    guarded._process.wait(10)


def test_a_killed_guardian_takes_its_engine_along(tmp_path):
    guarded = Guarded(
        [sys.executable, "-c", "import time; time.sleep(100)"],
        environment=dict(os.environ),
        log=tmp_path / "l",
    )
    time.sleep(0.5)
    below = psutil.Process(guarded.pid).children()

    os.kill(guarded.pid, signal.SIGKILL)

    _, alive = psutil.wait_procs(below, timeout=5)
    assert alive == []
    guarded.stop()


def test_what_is_guarded_leaves_the_processors_to_who_answers_callers_first(tmp_path):
    told = tmp_path / "niceness"
    program = f"import os; open({str(told)!r}, 'w').write(str(os.nice(0)))"
    guarded = Guarded(
        [sys.executable, "-c", program], environment=dict(os.environ), log=tmp_path / "log"
    )

    guarded._process.wait(10)

    assert int(told.read_text()) == os.nice(0) + 5
    guarded.stop()


def test_a_log_that_grew_too_long_keeps_its_end(tmp_path, monkeypatch):
    from inference import guarded as module

    monkeypatch.setattr(module, "MAX_LOG_BYTES", 1000)
    monkeypatch.setattr(module, "KEPT_LOG_BYTES", 100)
    log = tmp_path / "log"
    log.write_text("x" * 2000 + "the end")
    guarded = Guarded(["true"], environment={"PATH": "/bin:/usr/bin"}, log=log)

    guarded.trim_log()

    assert log.stat().st_size == 100
    assert guarded.last_lines()[-1].endswith("the end")
    guarded.stop()


def test_an_engines_environment_holds_none_of_our_secrets(tmp_path):
    host = {
        "PATH": "/bin",
        "LANG": "C",
        "CUDA_VISIBLE_DEVICES": "0",
        "LOCALAI_API_KEY": "s",
        "HOME": "/root",
        "AWS": "x",
    }

    found = engine_environment(WORKS, host, tmp_path)

    assert set(found) == {"PATH", "LANG", "CUDA_VISIBLE_DEVICES", "HOME", "TMPDIR", "X"}
    assert found["HOME"] == str(tmp_path / "home")


def test_a_command_line_takes_declared_options_only(tmp_path):
    with_option = recipe(
        "{python}", "{options}", options={"seats": Option("integer", "--seats", "", 4)}
    )
    given = {"python": tmp_path, "model": tmp_path, "name": "m", "socket": tmp_path}

    assert line_of(with_option, options={}, **given)[1:] == ["--seats", "4"]
    assert line_of(with_option, options={"seats": 9}, **given)[1:] == ["--seats", "9"]
    for bad in ({"seats": "; rm -rf /"}, {"trust_remote_code": True}):
        with pytest.raises(RecipeError):
            line_of(with_option, options=bad, **given)


def test_the_built_in_recipes_are_whole():
    assert {"vllm", "vllm-cpu"} <= set(recipes())
    for each in recipes().values():
        assert "{socket}" in each.command
        assert each.install
