"""Upgrading the backend of a model that runs, for tests: what an installation ends with, and callers."""

import threading
import time
from contextlib import contextmanager, suppress

import httpx

from inference import engine_process, engine_requests, engine_rows
from inference.models import Engine, EngineState, Model
from inference.tests.fake_backend import backend, running_engine_process, use_fake_backend

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def upgrader(settings, monkeypatch, tmp_path):
    """An installed backend; the function that comes back has another version of it count, or none."""
    use_fake_backend(settings, monkeypatch, tmp_path, backend())

    def to(recipe):
        if recipe is not None:
            folder = recipe.folder(tmp_path / "backends_path")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "installed").touch()
        found = {"fake": recipe} if recipe is not None else {}
        for module in (engine_process, engine_requests, engine_rows):
            monkeypatch.setattr(module, "recipes", lambda: found)

    return to


@contextmanager
def loaded(**fields):
    """A model whose engines all serve."""
    described = {"source": "", "backend": "fake", "directory": "/x", "load_at_start": True}
    row = Model.objects.create(name="m", capabilities=["chat"], **{**described, **fields})
    with running_engine_process() as process:
        until(lambda: [each.state for each in rows()] == [EngineState.READY] * row.replicas)
        yield process


def rows():
    return list(Engine.objects.filter(model_id="m").order_by("replica"))


def row():
    return next(iter(rows()), Engine(state="none"))


def on_the_side(process):
    """The engines that the table says nothing of."""
    return [each for m in process._models.values() for each in m.everyone if each not in m.runners]


def until(check, timeout_s=20):
    deadline = time.monotonic() + timeout_s
    while not (found := check()):
        assert time.monotonic() < deadline, list(Engine.objects.values())
        time.sleep(0.02)
    return found


def engine(address):
    transport = httpx.HTTPTransport(uds=address.removeprefix("unix:"))
    return httpx.Client(transport=transport, base_url="http://engine", timeout=30)


@contextmanager
def streaming(address, **stub):
    """A stream of this engine in a thread; what it got is in the list when the block ends."""
    got = []

    def read():
        body = {**CHAT, "stream": True, "stub": stub}
        with (
            suppress(httpx.HTTPError),
            engine(address) as client,
            client.stream("POST", "/v1/chat/completions", json=body) as answer,
        ):
            got.extend(answer.iter_lines())

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield got
    finally:
        thread.join(30)
