"""A backend whose engine is the stub, and the engine process's own loop in a thread of the test."""

import sys
import threading
import time
from contextlib import contextmanager

from inference import engine_process, engine_requests, engine_rows, supervisor
from inference.api import machine
from inference.engine_process import EngineProcess
from inference.recipes import Recipe, command_line, placeholders
from tests.stub import ROOT

STUB = (
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); import asyncio;"
    "print('hello from the engine', flush=True); print('a warning', file=sys.stderr, flush=True);"
    "from bench.stub_engine import main; asyncio.run(main(sys.argv[1]))"
)
FALLS = "import sys; sys.exit('ValueError: no such file /root/secret/place')"


def backend(program=STUB):
    return Recipe(
        name="fake",
        description="",
        version="1",
        tags=(),
        hardware=("cpu",),
        install=(),
        command=(sys.executable, "-c", program, "{socket}", "{options}"),
        environment={},
        options={},
        health="/health",
        digest="d",
    )


class Ticking(EngineProcess):
    """Without its hunt for strays, which would end other children of the test's process."""

    def _end_strays(self):
        pass


@contextmanager
def running_engine_process():
    """The engine process at work beside the test."""
    process, ended = Ticking(), threading.Event()

    def run():
        from django.db import connections

        process._find_feet()
        while not ended.is_set():
            process._guarded_tick()
            time.sleep(0.02)
        process._end_all()
        connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield process
    finally:
        ended.set()
        thread.join(30)


def use_fake_backend(settings, monkeypatch, tmp_path, recipe):
    """One backend, installed, that starts and is watched quickly."""
    paths = {name: tmp_path / name for name in ("data_path", "backends_path", "models_path")}
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update=paths)
    installed = recipe.folder(paths["backends_path"])
    installed.mkdir(parents=True)
    (installed / "installed").touch()
    paths["models_path"].mkdir()
    for module in (engine_process, engine_requests, engine_rows, machine):
        monkeypatch.setattr(module, "recipes", lambda: {"fake": recipe})
    monkeypatch.setattr(engine_process, "LOOK_S", 0.05)
    monkeypatch.setattr(supervisor, "BACKOFF_S", (0.05,) * 5)
    for name in ("PROBE_STARTING_S", "PROBE_READY_S"):
        monkeypatch.setattr(supervisor, name, 0.05)


def line_of(recipe, **given):
    """The command line of an engine that is given what `placeholders` takes."""
    return command_line(recipe, placeholders(recipe, **given), given["options"])
